// usage: table_driver CASES [overrun | overread]
//
// Runs a table of cases (written by tests/op_cases.py) through every CPU kernel of this machine, with no Python in
// between: for sanitizers, and for CPUs that only an emulator has. Prints one line for each failure and a last line
// with what was run; exits with 1 after a failure, with 2 where the file cannot be read. The second word plants a fault
// that must be seen: an output or an input that is one element too short.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/half.h"
#include "library.h"

extern "C" const char* lsts_ops_describe(const LstsTable** table);

namespace {

constexpr size_t kGuard = 256;
constexpr unsigned char kPattern = 0xa5;

// A buffer whose both sides are watched: by guard bytes here, by the sanitizer's red zones in its build.
class Guarded {
 public:
  explicit Guarded(size_t size) : size_(size), memory_(static_cast<unsigned char*>(std::malloc(size + 2 * kGuard))) {
    std::memset(memory_, kPattern, size + 2 * kGuard);
  }
  ~Guarded() { std::free(memory_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  void* data() const { return memory_ + kGuard; }
  bool is_intact() const {
    for (size_t i = 0; i < kGuard; ++i)
      if (memory_[i] != kPattern || memory_[kGuard + size_ + i] != kPattern) return false;
    return true;
  }

 private:
  size_t size_;
  unsigned char* memory_;
};

struct Reader {
  std::FILE* file;
  template <class T>
  std::vector<T> read(size_t count) {
    std::vector<T> out(count);
    if (count && std::fread(out.data(), sizeof(T), count, file) != count) {
      std::fprintf(stderr, "the file of cases ends early\n");
      std::exit(2);
    }
    out.shrink_to_fit();
    return out;
  }
};

float value_at(const void* data, size_t i, bool half) {
  if (!half) return static_cast<const float*>(data)[i];
  return lsts::widen(static_cast<const lsts::Half*>(data)[i]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: table_driver CASES [overrun | overread]\n"), 2;
  const std::string planted = argc > 2 ? argv[2] : "";
  Reader reader{std::fopen(argv[1], "rb")};
  if (reader.file == nullptr) return std::fprintf(stderr, "cannot open %s\n", argv[1]), 2;
  if (std::string(reader.read<char>(8).data(), 8) != "LSTSCASE") return std::fprintf(stderr, "no file of cases\n"), 2;
  const int64_t cases = reader.read<int64_t>(1)[0];

  const LstsTable* table = nullptr;
  std::printf("%s\n", lsts_ops_describe(&table));
  std::string kernels;
  int failures = 0;
  int64_t runs = 0;
  for (int32_t i = 0; table->kernel_name(i) != nullptr; ++i)
    kernels += std::string(i ? " " : "") + table->kernel_name(i);

  for (int64_t number = 0; number < cases; ++number) {
    const std::vector<int64_t> size = reader.read<int64_t>(9);
    const int64_t n = size[0], e = size[1], c = size[2], h = size[3], w = size[4], k = size[5];
    const bool half = size[6] != 0;
    const size_t cells = static_cast<size_t>(n * h * w), bytes = half ? 2 : 4;
    const std::vector<char> text = reader.read<char>(static_cast<size_t>(size[8]));
    const std::string name(text.begin(), text.end());
    const std::vector<float> offsets = reader.read<float>(static_cast<size_t>(2 * k));
    std::vector<char> f = reader.read<char>(cells * e * bytes);
    const std::vector<char> g = reader.read<char>(cells * e * bytes);
    if (planted == "overread") f.resize(f.size() - bytes), f.shrink_to_fit();
    const std::vector<char> feature = reader.read<char>(cells * c * bytes);
    const std::vector<double> aligned = reader.read<double>(cells * c), peak = reader.read<double>(cells);
    const std::vector<double> allowed = reader.read<double>(cells);

    const auto fail = [&](const char* kernel, int threads, const std::string& what) {
      ++failures;
      std::printf("FAIL %s, %d threads: %s: %s\n", kernel, threads, name.c_str(), what.c_str());
    };
    for (int32_t i = 0; table->kernel_name(i) != nullptr; ++i) {
      const char* kernel = table->kernel_name(i);
      std::vector<unsigned char> first;
      for (const int threads : {1, 3}) {
        char message[512] = {};
        void* runner =
            table->create(offsets.data(), k, static_cast<int32_t>(size[7]), kernel, threads, message, sizeof message);
        if (runner == nullptr) {
          fail(kernel, threads, message);
          continue;
        }
        Guarded out(cells * c * bytes - (planted == "overrun" ? bytes : 0)), peaks(cells * sizeof(float));
        const lsts::Call call{f.data(),
                              g.data(),
                              feature.data(),
                              out.data(),
                              static_cast<float*>(peaks.data()),
                              n,
                              e,
                              c,
                              h,
                              w,
                              half ? lsts::DType::kFloat16 : lsts::DType::kFloat32};
        if (table->run(runner, &call, message, sizeof message) != 0) fail(kernel, threads, message);
        table->destroy(runner);
        ++runs;
        if (!out.is_intact() || !peaks.is_intact()) fail(kernel, threads, "wrote outside its buffers");
        double worst = 0.0;
        bool nans_agree = true;
        const auto compare = [&](double got, double wanted, double most) {
          if (!std::isfinite(most)) return;
          if (std::isnan(got) != std::isnan(wanted)) nans_agree = false;
          if (!std::isnan(got) && !std::isnan(wanted)) worst = std::fmax(worst, std::fabs(got - wanted) / most);
        };
        const size_t plane = static_cast<size_t>(h * w);
        for (size_t at = 0; at < aligned.size(); ++at)
          compare(value_at(out.data(), at, half), aligned[at], allowed[at / (plane * c) * plane + at % plane]);
        for (size_t at = 0; at < peak.size(); ++at) compare(value_at(peaks.data(), at, false), peak[at], allowed[at]);
        if (!nans_agree) fail(kernel, threads, "NaN at other places");
        if (worst > 1.0) fail(kernel, threads, std::to_string(worst) + " times the tolerance");
        const auto* data = static_cast<const unsigned char*>(out.data());
        const std::vector<unsigned char> now(data, data + cells * c * bytes);
        if (threads == 1) first = now;
        if (now != first) fail(kernel, threads, "other bits than with one thread");
      }
    }
  }
  std::fclose(reader.file);
  std::printf("%lld cases, %lld runs, kernels %s, %d failures\n", static_cast<long long>(cases),
              static_cast<long long>(runs), kernels.c_str(), failures);
  return failures ? 1 : 0;
}
