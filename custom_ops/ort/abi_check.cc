// Holds ort_abi.h against a real onnxruntime_c_api.h. Compiled only when one is given; nothing here runs.
#include <onnxruntime_c_api.h>

#include <type_traits>

#include "ort/ort_abi.h"

namespace {

// Our opaque types as ONNX Runtime names them, through pointers, const and function types.
template <class T>
struct Theirs {
  using type = T;
};
#define LSTS_SAME(ours, theirs) \
  template <>                   \
  struct Theirs<ortabi::ours> { \
    using type = ::theirs;      \
  };
LSTS_SAME(Status, OrtStatus)
LSTS_SAME(SessionOptions, OrtSessionOptions)
LSTS_SAME(CustomOpDomain, OrtCustomOpDomain)
LSTS_SAME(KernelInfo, OrtKernelInfo)
LSTS_SAME(KernelContext, OrtKernelContext)
LSTS_SAME(Value, OrtValue)
LSTS_SAME(TensorTypeAndShapeInfo, OrtTensorTypeAndShapeInfo)
LSTS_SAME(ShapeInferContext, OrtShapeInferContext)
LSTS_SAME(CustomOp, OrtCustomOp)
LSTS_SAME(ErrorCode, OrtErrorCode)
LSTS_SAME(ElementType, ONNXTensorElementDataType)
#undef LSTS_SAME
template <class T>
struct Theirs<T*> {
  using type = typename Theirs<T>::type*;
};
template <class T>
struct Theirs<const T> {
  using type = const typename Theirs<T>::type;
};
template <class Result, class... Arguments>
struct Theirs<Result (*)(Arguments...)> {
  using type = typename Theirs<Result>::type (*)(typename Theirs<Arguments>::type...);
};

template <class T>
struct Plain {
  using type = T;
};
template <class Result, class... Arguments>
struct Plain<Result (*)(Arguments...) noexcept> {
  using type = Result (*)(Arguments...);
};

#define LSTS_CHECK_SLOT(name, slot, since, result, arguments)                                              \
  static_assert(offsetof(OrtApi, name) == (slot) * sizeof(void*), "slot of " #name);                       \
  static_assert((since) <= ORT_API_VERSION, "version of " #name);                                          \
  static_assert(std::is_same<Theirs<ortabi::Fn_##name>::type, Plain<decltype(OrtApi::name)>::type>::value, \
                "signature of " #name);
LSTS_ORT_SLOTS(LSTS_CHECK_SLOT)

#define LSTS_CHECK_FIELD(name) \
  static_assert(offsetof(OrtCustomOp, name) == offsetof(ortabi::CustomOp, name), "place of " #name);
LSTS_CHECK_FIELD(version)
LSTS_CHECK_FIELD(GetName)
LSTS_CHECK_FIELD(GetExecutionProviderType)
LSTS_CHECK_FIELD(GetInputType)
LSTS_CHECK_FIELD(GetInputTypeCount)
LSTS_CHECK_FIELD(GetOutputType)
LSTS_CHECK_FIELD(GetOutputTypeCount)
LSTS_CHECK_FIELD(KernelCompute)
LSTS_CHECK_FIELD(KernelDestroy)
LSTS_CHECK_FIELD(GetInputCharacteristic)
LSTS_CHECK_FIELD(GetOutputCharacteristic)
LSTS_CHECK_FIELD(GetInputMemoryType)
LSTS_CHECK_FIELD(GetVariadicInputMinArity)
LSTS_CHECK_FIELD(GetVariadicInputHomogeneity)
LSTS_CHECK_FIELD(GetVariadicOutputMinArity)
LSTS_CHECK_FIELD(GetVariadicOutputHomogeneity)
LSTS_CHECK_FIELD(CreateKernelV2)
LSTS_CHECK_FIELD(KernelComputeV2)
LSTS_CHECK_FIELD(InferOutputShapeFn)
LSTS_CHECK_FIELD(GetStartVersion)
LSTS_CHECK_FIELD(GetEndVersion)

static_assert(offsetof(OrtApiBase, GetApi) == 0 && offsetof(OrtApiBase, GetVersionString) == sizeof(void*),
              "OrtApiBase");
static_assert(int{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT} == ortabi::kFloat, "float");
static_assert(int{ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16} == ortabi::kFloat16, "float16");
static_assert(int{ORT_FAIL} == ortabi::kFail && int{ORT_INVALID_ARGUMENT} == ortabi::kInvalidArgument, "error codes");
static_assert(int{INPUT_OUTPUT_OPTIONAL} == ortabi::kOptional, "characteristics");
static_assert(int{OrtMemTypeCPUInput} == ortabi::kMemoryCpuInput && int{OrtMemTypeDefault} == ortabi::kMemoryDefault,
              "memory types");

}  // namespace
