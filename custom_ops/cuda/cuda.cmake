# The CUDA kernels, as a library of their own: its compiler knows none of the C++ compiler's options.
#
# Sets LSTS_WITH_CUDA to 1 and adds the kernels to lsts_core where nvcc works; does nothing where it does not.
# LSTS_CUDA_ARCHS chooses the architectures; the newest one is also kept as PTX, for devices that came later.
set(LSTS_CUDA_ARCHS "75;80;86;87;89;90" CACHE STRING "Architectures of the CUDA kernels")

if(LSTS_SANITIZE)
  return()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  return()
endif()

set(lsts_arch_flags "")
foreach(arch IN LISTS LSTS_CUDA_ARCHS)
  list(APPEND lsts_arch_flags ${arch}-real)
  set(lsts_last_arch ${arch})
endforeach()
set(CMAKE_CUDA_ARCHITECTURES "${lsts_arch_flags};${lsts_last_arch}-virtual")
enable_language(CUDA)
find_package(CUDAToolkit)
if(NOT TARGET CUDA::cudart_static)
  message(STATUS "lsts_ops: nvcc has no static CUDA runtime beside it")
  return()
endif()

add_library(lsts_cuda STATIC ${CMAKE_CURRENT_LIST_DIR}/lsts_cuda.cu)
set_target_properties(lsts_cuda PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
                                           CUDA_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
target_include_directories(lsts_cuda PRIVATE ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_CURRENT_LIST_DIR}/../include)
string(REPLACE ";" " " lsts_archs_text "${LSTS_CUDA_ARCHS}")
target_compile_definitions(lsts_cuda PRIVATE LSTS_CUDA_ARCHS="${lsts_archs_text} ${lsts_last_arch}-ptx")
target_compile_options(lsts_cuda PRIVATE -O3 -Xcompiler=-Wall,-Wextra --threads=0)
# Static, so that the library opens on a machine without CUDA.
target_link_libraries(lsts_core PUBLIC lsts_cuda CUDA::cudart_static)
set(LSTS_WITH_CUDA 1)
