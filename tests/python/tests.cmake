# The module is built with pip into the environment of tools/test-python. A sample of coremltools' own tests runs with our runtime; what needs
# PyTorch, and the samples of thousands, are left to `make test-all`.
if(NOT POMONA_SANITIZE)
  set(suite ${POMONA_CACHE}/venv/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/python/coremltools_suite.py)
  pomona_test(NAME python.coremltools_share LABELS python COMMAND ${suite} mil --sample 200 --without-torch)
  pomona_test(NAME python.coremltools_mil LABELS python torch long COMMAND ${suite} mil --sample 3000)
  pomona_test(NAME python.coremltools_torch LABELS python torch long COMMAND ${suite} torch --sample 3000)
  pomona_test(NAME python.coremltools_other LABELS python torch long COMMAND ${suite} other)
endif()
