# What `cmake --install` puts under the prefix: headers, library, program, and the descriptions for find_package and pkg-config.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS pomona EXPORT pomonaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/pomona DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET pomona_cli)
  install(TARGETS pomona_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/pomona)
install(EXPORT pomonaTargets NAMESPACE pomona:: DESTINATION ${package_folder})
configure_package_config_file(cmake/pomonaConfig.cmake.in pomonaConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(pomonaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pomonaConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/pomonaConfigVersion.cmake DESTINATION ${package_folder})

# The prefix is found from the place of pomona.pc, so that an installed tree may be moved.
set(pkgconfig_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pomona_pc_prefix /prefix/${pkgconfig_folder} /prefix)
configure_file(cmake/pomona.pc.in pomona.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pomona.pc DESTINATION ${pkgconfig_folder})
