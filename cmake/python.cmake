# The Python module, from the static library. pyproject.toml builds it for `pip install .`; in another build -D POMONA_PYTHON=ON does, given an
# interpreter that has nanobind (-D Python_EXECUTABLE=...), and puts a package that can be imported into python/ of the build folder.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT nanobind_ROOT)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
    OUTPUT_VARIABLE nanobind_ROOT
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
find_package(nanobind CONFIG REQUIRED)

file(GLOB python_sources CONFIGURE_DEPENDS src/python/*.cpp)
nanobind_add_module(pomona_python NB_STATIC NB_SUPPRESS_WARNINGS NOMINSIZE ${python_sources})
target_link_libraries(pomona_python PRIVATE pomona pomona_flags)
set(python_folder ${CMAKE_BINARY_DIR}/python/pomona)
set_target_properties(pomona_python PROPERTIES OUTPUT_NAME _native LIBRARY_OUTPUT_DIRECTORY ${python_folder})

nanobind_add_stub(
  pomona_python_stub
  MODULE _native
  OUTPUT ${python_folder}/_native.pyi
  PYTHON_PATH $<TARGET_FILE_DIR:pomona_python>
  DEPENDS pomona_python)
# The ops are methods that only the op table knows.
add_custom_command(
  OUTPUT ${python_folder}/_ops.pyi
  COMMAND ${Python_EXECUTABLE} -B ${PROJECT_SOURCE_DIR}/cmake/ops_stub.py $<TARGET_FILE_DIR:pomona_python> ${python_folder}/_ops.pyi
  DEPENDS pomona_python ${PROJECT_SOURCE_DIR}/cmake/ops_stub.py)
add_custom_target(pomona_python_ops_stub ALL DEPENDS ${python_folder}/_ops.pyi)
install(TARGETS pomona_python LIBRARY DESTINATION pomona COMPONENT python)
install(FILES ${python_folder}/_native.pyi ${python_folder}/_ops.pyi DESTINATION pomona COMPONENT python)

if(NOT DEFINED SKBUILD)
  file(MAKE_DIRECTORY ${python_folder})
  # The package's own files beside the module, as links, so that they need no build step.
  file(GLOB package_files CONFIGURE_DEPENDS python/pomona/*)
  foreach(file ${package_files})
    get_filename_component(file_name ${file} NAME)
    file(CREATE_LINK ${file} ${python_folder}/${file_name} SYMBOLIC)
  endforeach()
endif()
