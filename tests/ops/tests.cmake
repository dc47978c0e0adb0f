# The registry that the catalogue is compared with comes from coremltools itself.
set(registry ${CMAKE_CURRENT_BINARY_DIR}/registry.json)
pomona_test(NAME ops.registry COMMAND ${POMONA_CACHE}/venv/bin/python3 -B ${folder}/truth/registry.py ${registry})
set_tests_properties(${build}.ops.registry PROPERTIES FIXTURES_SETUP ops_registry)
set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED ops_registry)
set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT POMONA_REGISTRY=${registry})
