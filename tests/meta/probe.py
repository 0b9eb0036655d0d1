"""Prints, as JSON, where each lsts_edge module was loaded from; run by test_four_ways.py in other environments."""

import importlib
import json
import sys

for name in ("lsts_edge.bundle", "lsts_edge.cli", "lsts_edge.custom_ops", "lsts_edge.runtime"):
    importlib.import_module(name)
found = {}
for name, module in sorted(sys.modules.items()):
    if getattr(module, "__file__", None) and name.split(".")[0] in ("lsts_edge", *sys.argv[1:]):
        found[name] = module.__file__
print(json.dumps({"modules": found, "forbidden": sorted(set(sys.argv[1:]) & set(sys.modules))}))
