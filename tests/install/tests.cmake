pomona_test(
  NAME install
  LABELS install
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/check-install ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/examples/consumer ${CMAKE_CXX_COMPILER} ${PROJECT_VERSION}
          ${POMONA_CACHE}/venv/bin/python3)
