# What the ops are held to comes from outside: coremltools' registry, and cases made by coremltools, NumPy and ONNX Runtime.
set(registry ${CMAKE_CURRENT_BINARY_DIR}/registry.json)
set(truth ${CMAKE_CURRENT_BINARY_DIR}/truth)
pomona_test(NAME ops.registry COMMAND ${POMONA_CACHE}/venv/bin/python3 -B ${folder}/truth/registry.py ${registry})
pomona_test(NAME ops.truth COMMAND ${POMONA_CACHE}/venv/bin/python3 -B ${folder}/truth/make_cases.py ${truth})
set_tests_properties(${build}.ops.registry ${build}.ops.truth PROPERTIES FIXTURES_SETUP ops_truth)
set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED ops_truth)
set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT POMONA_REGISTRY=${registry} POMONA_TRUTH_DIR=${truth})
