// The part of ONNX Runtime's binary interface that a custom-op library needs, written down from its rules.
//
// No ONNX Runtime header is needed to build with this one. It relies on what ONNX Runtime promises between versions:
//   * OrtApiBase holds two functions, GetApi(version) and GetVersionString();
//   * OrtApi is a table of functions that only grows at its end, and GetApi(N) is null in a library older than N;
//   * OrtCustomOp is a struct that only grows at its end, of which a field is read only if `version` has it.
// abi_check.cc holds every number and signature below against a real header, where one is given.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define LSTS_ORT_CALL __stdcall
#define LSTS_ORT_EXPORT __declspec(dllexport)
#else
#define LSTS_ORT_CALL
#define LSTS_ORT_EXPORT __attribute__((visibility("default")))
#endif

namespace ortabi {

constexpr uint32_t kApiVersion =
    17;  // ONNX Runtime 1.17: the first with ParallelFor and shape inference for custom ops

struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorTypeAndShapeInfo;
struct ShapeInferContext;
struct Api;  // a table of pointers, never used as a struct
struct CustomOp;
using StatusPtr = Status*;

enum ErrorCode : int { kOk = 0, kFail = 1, kInvalidArgument = 2, kNotImplemented = 9 };
enum ElementType : int { kUndefined = 0, kFloat = 1, kFloat16 = 10 };
enum Characteristic : int { kRequired = 0, kOptional = 1 };
enum MemoryType : int { kMemoryCpuInput = -2, kMemoryDefault = 0 };

struct ApiBase {
  const Api*(LSTS_ORT_CALL* GetApi)(uint32_t version);
  const char*(LSTS_ORT_CALL* GetVersionString)();
};

// X(name, slot in the table, API version that added it, result, arguments)
#define LSTS_ORT_SLOTS(X)                                                                                    \
  X(CreateStatus, 0, 1, StatusPtr, (ErrorCode, const char*))                                                 \
  X(CreateCustomOpDomain, 26, 1, StatusPtr, (const char*, CustomOpDomain**))                                 \
  X(CustomOpDomain_Add, 27, 1, StatusPtr, (CustomOpDomain*, const CustomOp*))                                \
  X(AddCustomOpDomain, 28, 1, StatusPtr, (SessionOptions*, CustomOpDomain*))                                 \
  X(GetTensorMutableData, 51, 1, StatusPtr, (Value*, void**))                                                \
  X(CreateTensorTypeAndShapeInfo, 57, 1, StatusPtr, (TensorTypeAndShapeInfo**))                              \
  X(SetTensorElementType, 58, 1, StatusPtr, (TensorTypeAndShapeInfo*, ElementType))                          \
  X(SetDimensions, 59, 1, StatusPtr, (TensorTypeAndShapeInfo*, const int64_t*, size_t))                      \
  X(GetTensorElementType, 60, 1, StatusPtr, (const TensorTypeAndShapeInfo*, ElementType*))                   \
  X(GetDimensionsCount, 61, 1, StatusPtr, (const TensorTypeAndShapeInfo*, size_t*))                          \
  X(GetDimensions, 62, 1, StatusPtr, (const TensorTypeAndShapeInfo*, int64_t*, size_t))                      \
  X(GetSymbolicDimensions, 63, 1, StatusPtr, (const TensorTypeAndShapeInfo*, const char**, size_t))          \
  X(GetTensorTypeAndShape, 65, 1, StatusPtr, (const Value*, TensorTypeAndShapeInfo**))                       \
  X(KernelInfoGetAttribute_float, 85, 1, StatusPtr, (const KernelInfo*, const char*, float*))                \
  X(KernelInfoGetAttribute_int64, 86, 1, StatusPtr, (const KernelInfo*, const char*, int64_t*))              \
  X(KernelInfoGetAttribute_string, 87, 1, StatusPtr, (const KernelInfo*, const char*, char*, size_t*))       \
  X(KernelContext_GetInputCount, 88, 1, StatusPtr, (const KernelContext*, size_t*))                          \
  X(KernelContext_GetOutputCount, 89, 1, StatusPtr, (const KernelContext*, size_t*))                         \
  X(KernelContext_GetInput, 90, 1, StatusPtr, (const KernelContext*, size_t, const Value**))                 \
  X(KernelContext_GetOutput, 91, 1, StatusPtr, (KernelContext*, size_t, const int64_t*, size_t, Value**))    \
  X(ReleaseStatus, 93, 1, void, (Status*))                                                                   \
  X(ReleaseTensorTypeAndShapeInfo, 99, 1, void, (TensorTypeAndShapeInfo*))                                   \
  X(KernelContext_GetGPUComputeStream, 193, 10, StatusPtr, (const KernelContext*, void**))                   \
  X(KernelInfoGetConstantInput_tensor, 249, 15, StatusPtr, (const KernelInfo*, size_t, int*, const Value**)) \
  X(ShapeInferContext_GetInputTypeShape, 268, 17, StatusPtr,                                                 \
    (const ShapeInferContext*, size_t, TensorTypeAndShapeInfo**))                                            \
  X(ShapeInferContext_SetOutputTypeShape, 270, 17, StatusPtr,                                                \
    (const ShapeInferContext*, size_t, const TensorTypeAndShapeInfo*))                                       \
  X(SetSymbolicDimensions, 271, 17, StatusPtr, (TensorTypeAndShapeInfo*, const char**, size_t))              \
  X(KernelContext_ParallelFor, 274, 17, StatusPtr,                                                           \
    (const KernelContext*, void (*)(void*, size_t), size_t, size_t, void*))

#define LSTS_ORT_DECLARE(name, slot, since, result, arguments)                           \
  constexpr size_t kSlot_##name = slot;                                                  \
  static_assert(since <= kApiVersion, #name " is newer than the API version asked for"); \
  using Fn_##name = result(LSTS_ORT_CALL*) arguments;
LSTS_ORT_SLOTS(LSTS_ORT_DECLARE)
#undef LSTS_ORT_DECLARE

// ORT(api, GetDimensions)(info, dims, rank)
#define ORT(api, name) \
  (reinterpret_cast<::ortabi::Fn_##name>(reinterpret_cast<void* const*>(api)[::ortabi::kSlot_##name]))

// A status is null or an error that the caller passes on.
#define ORT_TRY(expression)                                         \
  do {                                                              \
    if (::ortabi::StatusPtr status_ = (expression)) return status_; \
  } while (0)

struct CustomOp {
  uint32_t version;
  void*(LSTS_ORT_CALL* CreateKernel)(const CustomOp*, const Api*, const KernelInfo*);
  const char*(LSTS_ORT_CALL* GetName)(const CustomOp*);
  const char*(LSTS_ORT_CALL* GetExecutionProviderType)(const CustomOp*);
  ElementType(LSTS_ORT_CALL* GetInputType)(const CustomOp*, size_t);
  size_t(LSTS_ORT_CALL* GetInputTypeCount)(const CustomOp*);
  ElementType(LSTS_ORT_CALL* GetOutputType)(const CustomOp*, size_t);
  size_t(LSTS_ORT_CALL* GetOutputTypeCount)(const CustomOp*);
  void(LSTS_ORT_CALL* KernelCompute)(void*, KernelContext*);
  void(LSTS_ORT_CALL* KernelDestroy)(void*);
  Characteristic(LSTS_ORT_CALL* GetInputCharacteristic)(const CustomOp*, size_t);
  Characteristic(LSTS_ORT_CALL* GetOutputCharacteristic)(const CustomOp*, size_t);
  MemoryType(LSTS_ORT_CALL* GetInputMemoryType)(const CustomOp*, size_t);
  int(LSTS_ORT_CALL* GetVariadicInputMinArity)(const CustomOp*);
  int(LSTS_ORT_CALL* GetVariadicInputHomogeneity)(const CustomOp*);
  int(LSTS_ORT_CALL* GetVariadicOutputMinArity)(const CustomOp*);
  int(LSTS_ORT_CALL* GetVariadicOutputHomogeneity)(const CustomOp*);
  StatusPtr(LSTS_ORT_CALL* CreateKernelV2)(const CustomOp*, const Api*, const KernelInfo*, void**);
  StatusPtr(LSTS_ORT_CALL* KernelComputeV2)(void*, KernelContext*);
  StatusPtr(LSTS_ORT_CALL* InferOutputShapeFn)(const CustomOp*, ShapeInferContext*);
  int(LSTS_ORT_CALL* GetStartVersion)(const CustomOp*);
  int(LSTS_ORT_CALL* GetEndVersion)(const CustomOp*);
  size_t(LSTS_ORT_CALL* GetMayInplace)(int**, int**);  // from version 18 on: never read at 17
  void(LSTS_ORT_CALL* ReleaseMayInplace)(int*, int*);
  size_t(LSTS_ORT_CALL* GetAliasMap)(int**, int**);
  void(LSTS_ORT_CALL* ReleaseAliasMap)(int*, int*);
};

}  // namespace ortabi
