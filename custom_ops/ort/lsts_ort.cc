// LSTS as an ONNX Runtime custom op: schema, shape inference and kernels, one CustomOp for each (type, provider).
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "cpu/dispatch.h"
#include "ort/ops.h"
#include "plan.h"
#if LSTS_WITH_CUDA
#include "cuda/lsts_cuda.h"
#endif

namespace lsts {
namespace {

using namespace ortabi;

constexpr size_t kInputs = 4;
constexpr size_t kOffsets = 3;
constexpr size_t kFeature = 2;

StatusPtr refuse(const Api* api, ErrorCode code, const std::string& text) {
  return ORT(api, CreateStatus)(code, text.c_str());
}

void forget(const Api* api, StatusPtr status) {
  if (status != nullptr) ORT(api, ReleaseStatus)(status);
}

// A type-and-shape object of ONNX Runtime's, released with its scope.
class Info {
 public:
  explicit Info(const Api* api) : api_(api) {}
  ~Info() {
    if (info_ != nullptr) ORT(api_, ReleaseTensorTypeAndShapeInfo)(info_);
  }
  Info(const Info&) = delete;
  Info& operator=(const Info&) = delete;
  TensorTypeAndShapeInfo** out() { return &info_; }
  TensorTypeAndShapeInfo* get() const { return info_; }

 private:
  const Api* api_;
  TensorTypeAndShapeInfo* info_ = nullptr;
};

StatusPtr read_dims(const Api* api, const TensorTypeAndShapeInfo* info, std::vector<int64_t>* dims) {
  size_t rank = 0;
  ORT_TRY(ORT(api, GetDimensionsCount)(info, &rank));
  dims->resize(rank);
  return ORT(api, GetDimensions)(info, dims->data(), rank);
}

struct Tensor {
  ElementType type = kUndefined;
  std::vector<int64_t> dims;
  void* data = nullptr;
  Shape shape() const { return {dims.data(), dims.size()}; }
};

StatusPtr read_tensor(const Api* api, const Value* value, Tensor* tensor) {
  Info info(api);
  ORT_TRY(ORT(api, GetTensorTypeAndShape)(value, info.out()));
  ORT_TRY(ORT(api, GetTensorElementType)(info.get(), &tensor->type));
  ORT_TRY(read_dims(api, info.get(), &tensor->dims));
  return ORT(api, GetTensorMutableData)(const_cast<Value*>(value), &tensor->data);
}

StatusPtr read_normalization(const Api* api, const KernelInfo* info, Normalization* normalization) {
  char text[32] = {};
  size_t size = sizeof text;
  StatusPtr missing = ORT(api, KernelInfoGetAttribute_string)(info, "normalization", text, &size);
  const std::string got(text);
  const bool found = missing == nullptr;
  forget(api, missing);
  if (found && got == "softmax") return *normalization = Normalization::kSoftmax, nullptr;
  if (found && got == "linear") return *normalization = Normalization::kLinear, nullptr;
  int64_t whole = 0;
  float real = 0;
  StatusPtr not_whole = ORT(api, KernelInfoGetAttribute_int64)(info, "normalization", &whole);
  StatusPtr not_real = ORT(api, KernelInfoGetAttribute_float)(info, "normalization", &real);
  const bool absent = !found && size <= sizeof text && not_whole != nullptr && not_real != nullptr;
  forget(api, not_whole);
  forget(api, not_real);
  if (absent) return *normalization = Normalization::kSoftmax, nullptr;
  return refuse(api, kInvalidArgument,
                "LSTS: attribute normalization: got " +
                    (found ? "'" + got + "'" : std::string("another value or type")) +
                    ", expected the string softmax or linear. Export the graph again.");
}

StatusPtr read_plan(const Api* api, const KernelInfo* info, Plan* plan) {
  Normalization normalization{};
  ORT_TRY(read_normalization(api, info, &normalization));
  int is_constant = 0;
  const Value* value = nullptr;
  ORT_TRY(ORT(api, KernelInfoGetConstantInput_tensor)(info, kOffsets, &is_constant, &value));
  if (!is_constant || value == nullptr)
    return refuse(
        api, kInvalidArgument,
        "LSTS: offsets (input 3): got a value computed at run time, expected a constant initializer. Export the "
        "graph with its offsets fixed.");
  Tensor offsets;
  ORT_TRY(read_tensor(api, value, &offsets));
  if (offsets.type != kFloat || offsets.dims.size() != 2 || offsets.dims[1] != 2)
    return refuse(api, kInvalidArgument,
                  "LSTS: offsets (input 3): got element type " + std::to_string(offsets.type) + " and shape " +
                      text_of(offsets.shape()) + ", expected 1 (float32) and (K, 2). Export the graph again.");
  const std::string wrong = make_plan(static_cast<const float*>(offsets.data), offsets.dims[0], normalization, plan);
  return wrong.empty() ? nullptr : refuse(api, kInvalidArgument, wrong);
}

// How many threads ONNX Runtime's pool may bring: it does not tell, so all that this process may use. Only the choice
// of tiles depends on it, no result does.
int threads_at_most() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Reads inputs and makes outputs; the call is ready to run unless a status comes back.
StatusPtr open_call(const Api* api, KernelContext* context, DType dtype, int64_t locations, Call* call) {
  size_t inputs = 0, outputs = 0;
  ORT_TRY(ORT(api, KernelContext_GetInputCount)(context, &inputs));
  ORT_TRY(ORT(api, KernelContext_GetOutputCount)(context, &outputs));
  if (inputs != kInputs || outputs < 1 || outputs > 2)
    return refuse(api, kInvalidArgument,
                  "LSTS: got " + std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
                      " outputs, expected 4 and 1 or 2. Export the graph again.");
  Tensor tensors[kInputs];
  for (size_t i = 0; i < kInputs; ++i) {
    const Value* value = nullptr;
    ORT_TRY(ORT(api, KernelContext_GetInput)(context, i, &value));
    ORT_TRY(read_tensor(api, value, &tensors[i]));
  }
  const ElementType expected = dtype == DType::kFloat16 ? kFloat16 : kFloat;
  for (size_t i = 0; i < kOffsets; ++i)
    if (tensors[i].type != expected)
      return refuse(api, kInvalidArgument,
                    "LSTS: input " + std::to_string(i) + ": got element type " + std::to_string(tensors[i].type) +
                        ", expected " + std::to_string(expected) + ". Give all three maps one type.");
  const std::string wrong =
      read_shapes(tensors[0].shape(), tensors[1].shape(), tensors[2].shape(), tensors[3].shape(), locations, call);
  if (!wrong.empty()) return refuse(api, kInvalidArgument, wrong);
  call->dtype = dtype;
  call->memory_embedding = tensors[0].data;
  call->current_embedding = tensors[1].data;
  call->memory_feature = tensors[kFeature].data;
  Value* aligned = nullptr;
  ORT_TRY(ORT(api, KernelContext_GetOutput)(context, 0, tensors[kFeature].dims.data(), 4, &aligned));
  ORT_TRY(ORT(api, GetTensorMutableData)(aligned, &call->aligned_feature));
  call->peak_weight = nullptr;
  if (outputs == 2) {
    const int64_t dims[4] = {call->n, 1, call->h, call->w};
    Value* peak = nullptr;
    ORT_TRY(ORT(api, KernelContext_GetOutput)(context, 1, dims, 4, &peak));
    void* data = nullptr;
    if (peak != nullptr) ORT_TRY(ORT(api, GetTensorMutableData)(peak, &data));
    call->peak_weight = static_cast<float*>(data);
  }
  return nullptr;
}

// No C++ exception may cross into ONNX Runtime.
template <class Function>
StatusPtr guarded(const Api* api, Function function) {
  try {
    return function();
  } catch (const std::exception& error) {
    return refuse(api, kFail, std::string("LSTS: ") + error.what());
  }
}

struct CpuKernel {
  const Api* api;
  CpuRunner runner;
};

template <DType kDType>
StatusPtr LSTS_ORT_CALL create_cpu(const CustomOp*, const Api* api, const KernelInfo* info, void** out) {
  return guarded(api, [&]() -> StatusPtr {
    Plan plan;
    ORT_TRY(read_plan(api, info, &plan));
    const char* name = std::getenv("LSTS_OPS_KERNEL");
    const Kernel* kernel = find_kernel(name);
    if (kernel == nullptr)
      return refuse(api, kInvalidArgument,
                    std::string("LSTS: LSTS_OPS_KERNEL: got ") + name + ", expected a kernel of this CPU (" +
                        usable_kernels().front()->name + " is the fastest). Unset the variable.");
    *out = new CpuKernel{api, {std::move(plan), kernel, threads_at_most()}};
    return nullptr;
  });
}

void LSTS_ORT_CALL destroy_cpu(void* kernel) { delete static_cast<CpuKernel*>(kernel); }

struct OrtPool {
  const Api* api;
  KernelContext* context;
  StatusPtr status;
};

void ort_parallel_for(void* raw, int64_t count, void (*body)(void*, size_t), void* context) {
  auto* pool = static_cast<OrtPool*>(raw);
  if (count == 1) return body(context, 0);
  pool->status = ORT(pool->api, KernelContext_ParallelFor)(pool->context, body, static_cast<size_t>(count), 0, context);
}

template <DType kDType>
StatusPtr LSTS_ORT_CALL compute_cpu(void* raw, KernelContext* context) {
  auto* kernel = static_cast<CpuKernel*>(raw);
  const Api* api = kernel->api;
  return guarded(api, [&]() -> StatusPtr {
    Call call{};
    ORT_TRY(open_call(api, context, kDType, static_cast<int64_t>(kernel->runner.plan().locations.size()), &call));
    OrtPool pool{api, context, nullptr};
    const std::string wrong = kernel->runner.run(call, ort_parallel_for, &pool);
    if (pool.status != nullptr) return pool.status;
    return wrong.empty() ? nullptr : refuse(api, kFail, wrong);
  });
}

#if LSTS_WITH_CUDA
struct CudaKernel {
  const Api* api;
  int64_t locations;
  CudaPlan* plan;
};

template <DType kDType>
StatusPtr LSTS_ORT_CALL create_cuda(const CustomOp*, const Api* api, const KernelInfo* info, void** out) {
  return guarded(api, [&]() -> StatusPtr {
    Plan plan;
    ORT_TRY(read_plan(api, info, &plan));
    auto kernel = std::make_unique<CudaKernel>(CudaKernel{api, static_cast<int64_t>(plan.locations.size()), nullptr});
    const std::string wrong = cuda_plan_create(plan, &kernel->plan);
    if (!wrong.empty()) return refuse(api, kFail, wrong);
    *out = kernel.release();
    return nullptr;
  });
}

void LSTS_ORT_CALL destroy_cuda(void* raw) {
  auto* kernel = static_cast<CudaKernel*>(raw);
  cuda_plan_destroy(kernel->plan);
  delete kernel;
}

template <DType kDType>
StatusPtr LSTS_ORT_CALL compute_cuda(void* raw, KernelContext* context) {
  auto* kernel = static_cast<CudaKernel*>(raw);
  const Api* api = kernel->api;
  return guarded(api, [&]() -> StatusPtr {
    Call call{};
    ORT_TRY(open_call(api, context, kDType, kernel->locations, &call));
    void* stream = nullptr;
    ORT_TRY(ORT(api, KernelContext_GetGPUComputeStream)(context, &stream));
    const std::string wrong = cuda_run(*kernel->plan, call, stream);
    return wrong.empty() ? nullptr : refuse(api, kFail, wrong);
  });
}
#endif

// InferOutputShapeFn is given the op and no table of functions: each CustomOp carries the one it was registered with.
struct OpWithApi {
  CustomOp op;  // first: ONNX Runtime hands back a pointer to it
  const Api* api;
};

StatusPtr set_output(const Api* api, ShapeInferContext* context, size_t index, ElementType type,
                     const std::vector<int64_t>& dims, std::vector<const char*> names) {
  Info info(api);
  ORT_TRY(ORT(api, CreateTensorTypeAndShapeInfo)(info.out()));
  ORT_TRY(ORT(api, SetTensorElementType)(info.get(), type));
  ORT_TRY(ORT(api, SetDimensions)(info.get(), dims.data(), dims.size()));
  ORT_TRY(ORT(api, SetSymbolicDimensions)(info.get(), names.data(), names.size()));
  return ORT(api, ShapeInferContext_SetOutputTypeShape)(context, index, info.get());
}

StatusPtr LSTS_ORT_CALL infer_shape(const CustomOp* op, ShapeInferContext* context) {
  const Api* api = reinterpret_cast<const OpWithApi*>(op)->api;
  return guarded(api, [&]() -> StatusPtr {
    TensorTypeAndShapeInfo* feature = nullptr;  // the context's own: not released here
    ORT_TRY(ORT(api, ShapeInferContext_GetInputTypeShape)(context, kFeature, &feature));
    std::vector<int64_t> dims;
    ORT_TRY(read_dims(api, feature, &dims));
    if (dims.size() != 4) return nullptr;  // unknown, or wrong: the call will tell
    ElementType type = kUndefined;  // the node's own: ONNX Runtime asks the first op of the name, whatever its type
    ORT_TRY(ORT(api, GetTensorElementType)(feature, &type));
    std::vector<const char*> names(4, "");
    ORT_TRY(ORT(api, GetSymbolicDimensions)(feature, names.data(), names.size()));
    for (size_t i = 0; i < 4; ++i)  // an unnamed open size cannot be passed on: ONNX Runtime would store it as -1
      if (dims[i] < 0 && (names[i] == nullptr || *names[i] == '\0')) return nullptr;
    // Output 0 alone: the context does not tell how many outputs the node has, and up to ONNX Runtime 1.27 a second
    // one that is not there indexes past the end and ends the process. The peak's shape is known when the node runs.
    return set_output(api, context, 0, type, dims, std::move(names));
  });
}

enum class Provider { kCpu, kCuda };

template <DType kDType, Provider kProvider>
OpWithApi make_op() {
  OpWithApi made{};
  CustomOp& op = made.op;
  op = plain_op();
  op.GetName = [](const CustomOp*) { return "LSTS"; };
  op.GetInputTypeCount = [](const CustomOp*) { return kInputs; };
  op.GetInputType = [](const CustomOp*, size_t i) {
    return i == kOffsets || kDType == DType::kFloat32 ? kFloat : kFloat16;
  };
  op.GetOutputTypeCount = [](const CustomOp*) -> size_t { return 2; };
  op.GetOutputType = [](const CustomOp*, size_t i) { return i == 1 || kDType == DType::kFloat32 ? kFloat : kFloat16; };
  op.GetOutputCharacteristic = [](const CustomOp*, size_t i) { return i == 1 ? kOptional : kRequired; };
  op.GetInputMemoryType = [](const CustomOp*, size_t i) { return i == kOffsets ? kMemoryCpuInput : kMemoryDefault; };
  op.InferOutputShapeFn = infer_shape;
  if constexpr (kProvider == Provider::kCpu) {
    op.CreateKernelV2 = create_cpu<kDType>;
    op.KernelComputeV2 = compute_cpu<kDType>;
    op.KernelDestroy = destroy_cpu;
  } else {
#if LSTS_WITH_CUDA
    op.GetExecutionProviderType = [](const CustomOp*) -> const char* { return "CUDAExecutionProvider"; };
    op.CreateKernelV2 = create_cuda<kDType>;
    op.KernelComputeV2 = compute_cuda<kDType>;
    op.KernelDestroy = destroy_cuda;
#endif
  }
  return made;
}

template <DType kDType, Provider kProvider>
const CustomOp* static_op(const Api* api) {
  static OpWithApi op = make_op<kDType, kProvider>();
  op.api = api;
  return &op.op;
}

}  // namespace

Op lsts_op() {
  Op op;
  op.description =
      "{\"domain\": \"lsts.edge\", \"name\": \"LSTS\", \"since\": 1, \"dtypes\": [\"float32\", \"float16\"], "
      "\"attributes\": {\"normalization\": [\"softmax\", \"linear\"]}}";
  op.makers = {static_op<DType::kFloat32, Provider::kCpu>, static_op<DType::kFloat16, Provider::kCpu>};
#if LSTS_WITH_CUDA
  op.makers.push_back(static_op<DType::kFloat32, Provider::kCuda>);
  op.makers.push_back(static_op<DType::kFloat16, Provider::kCuda>);
#endif
  return op;
}

}  // namespace lsts
