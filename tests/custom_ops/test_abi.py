"""``ort_abi.h`` and the file that holds it against a real header: it accepts the same interface and sees a change."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from op_builds import SOURCES, require_tools

OPAQUE = (
    "Status", "SessionOptions", "CustomOpDomain", "KernelInfo", "KernelContext", "Value", "TensorTypeAndShapeInfo",
    "ShapeInferContext", "CustomOp",
)  # fmt: skip


def slots() -> dict[str, tuple[int, int, str, str]]:
    """name -> (slot, API version, result, arguments) of the header's table."""
    text = (SOURCES / "ort" / "ort_abi.h").read_text()
    table = text[text.index("#define LSTS_ORT_SLOTS") : text.index("#define LSTS_ORT_DECLARE")].replace("\\\n", " ")
    found = re.findall(r"X\((\w+),\s*(\d+),\s*(\d+),\s*(\w+),\s*\((.*?)\)\)(?=\s*(?:X\(|$))", table)
    return {name: (int(slot), int(since), result, arguments) for name, slot, since, result, arguments in found}


def stand_in_header() -> str:
    """A C header of the same interface, in ONNX Runtime's own names; not its text."""

    def theirs(words: str) -> str:
        words = words.replace("StatusPtr", "OrtStatus*").replace("ElementType", "ONNXTensorElementDataType")
        words = words.replace("ErrorCode", "OrtErrorCode")
        return re.sub(rf"\b({'|'.join(OPAQUE)})\b", r"Ort\1", words)

    by_slot = {slot: (name, result, arguments) for name, (slot, _, result, arguments) in slots().items()}
    fields = []
    for slot in range(300):
        if slot in by_slot:
            name, result, arguments = by_slot[slot]
            fields.append(f"  {theirs(result)} (*{name})({theirs(arguments)}) noexcept;")
        else:
            fields.append(f"  void* unused_{slot};")
    text = (SOURCES / "ort" / "ort_abi.h").read_text()
    struct = text[text.index("struct CustomOp {") : text.index("};", text.index("struct CustomOp {"))]
    op_fields = re.findall(r"LSTS_ORT_CALL\*\s*(\w+)\)", struct)
    lines = [
        "#pragma once",
        "#include <cstddef>",
        "#include <cstdint>",
        "#define ORT_API_VERSION 29",
        *(f"struct Ort{name};" for name in OPAQUE),
        "enum OrtErrorCode { ORT_OK = 0, ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };",
        "enum ONNXTensorElementDataType {",
        "  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 = 10",
        "};",
        "enum OrtCustomOpInputOutputCharacteristic { INPUT_OUTPUT_REQUIRED = 0, INPUT_OUTPUT_OPTIONAL = 1 };",
        "enum OrtMemType { OrtMemTypeCPUInput = -2, OrtMemTypeDefault = 0 };",
        "struct OrtApi {",
        *fields,
        "};",
        "struct OrtApiBase { const OrtApi* (*GetApi)(uint32_t); const char* (*GetVersionString)(); };",
        "struct OrtCustomOp {",
        "  uint32_t version;",
        *(f"  void* (*{name})();" for name in op_fields),
        "};",
    ]
    return "\n".join(lines) + "\n"


def compiles(header: str, folder: Path) -> tuple[bool, str]:
    (folder / "onnxruntime_c_api.h").write_text(header)
    source = SOURCES / "ort" / "abi_check.cc"
    words = ["c++", "-std=c++17", "-fsyntax-only", f"-I{SOURCES}", f"-I{folder}", str(source)]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode == 0, done.stderr


def test_the_table_is_read_whole() -> None:
    text = (SOURCES / "ort" / "ort_abi.h").read_text()
    assert len(slots()) == len(set(re.findall(r"X\((\w+), \d+", text))) > 20
    assert slots()["KernelContext_ParallelFor"][:2] == (274, 17)
    assert slots()["KernelInfoGetConstantInput_tensor"][:2] == (249, 15)


def test_the_check_accepts_the_same_interface(tmp_path: Path) -> None:
    require_tools("c++")
    fine, errors = compiles(stand_in_header(), tmp_path)
    assert fine, errors[-3000:]


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("  void* unused_1;\n", "", "slot of"),
        (
            "(*KernelContext_ParallelFor)(const OrtKernelContext*, void",
            "(*KernelContext_ParallelFor)(void",
            "signature of",
        ),
        ("#define ORT_API_VERSION 29", "#define ORT_API_VERSION 16", "version of"),
        ("  void* (*KernelComputeV2)();\n", "", "place of"),
        ("DATA_TYPE_FLOAT16 = 10", "DATA_TYPE_FLOAT16 = 11", "float16"),
        ("ORT_INVALID_ARGUMENT = 2", "ORT_INVALID_ARGUMENT = 3", "error codes"),
    ],
)
def test_the_check_sees_a_change(tmp_path: Path, wrong: str, right: str, words: str) -> None:
    require_tools("c++")
    header = stand_in_header()
    assert wrong in header
    fine, errors = compiles(header.replace(wrong, right, 1), tmp_path)
    assert not fine and words in errors
