# The rules of the source tree itself, which do not depend on the build.
pomona_test(NAME includes LABELS source COMMAND ${CMAKE_SOURCE_DIR}/tools/check-includes)
pomona_test(NAME format LABELS source COMMAND ${CMAKE_SOURCE_DIR}/tools/check-format)
pomona_test(NAME tidy LABELS source long COMMAND ${CMAKE_SOURCE_DIR}/tools/check-tidy --all)
if(TEST ${build}.format)
  set_tests_properties(${build}.format PROPERTIES SKIP_RETURN_CODE 77)
  set_tests_properties(${build}.tidy PROPERTIES RUN_SERIAL ON)
endif()
pomona_test(NAME formats_table LABELS source COMMAND ${POMONA_CACHE}/venv/bin/python3 -B ${CMAKE_SOURCE_DIR}/tools/formats-table $<TARGET_FILE:pomona_cli> --check)
