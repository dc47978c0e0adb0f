# `make test` runs the first hundred random models, `make test-all` these, too.
if(NOT POMONA_SANITIZE)
  pomona_test(NAME conformance.random_models_long LABELS conformance long
              COMMAND ${POMONA_CACHE}/venv/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/conformance/random_models_test.py --seed 1000 --count 20000)
endif()
