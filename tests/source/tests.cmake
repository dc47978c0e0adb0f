# The rules of the source tree itself. They do not depend on the compiler, so one build checks them.
if(NOT POMONA_SANITIZE)
  pomona_test(NAME includes COMMAND ${CMAKE_SOURCE_DIR}/tools/check-includes)
  pomona_test(NAME format COMMAND ${CMAKE_SOURCE_DIR}/tools/check-format)
  set_tests_properties(release.format PROPERTIES SKIP_RETURN_CODE 77)
  pomona_test(NAME tidy LABELS long COMMAND ${CMAKE_SOURCE_DIR}/tools/check-tidy --all)
  set_tests_properties(release.tidy PROPERTIES TIMEOUT 7200 RUN_SERIAL ON)
endif()
