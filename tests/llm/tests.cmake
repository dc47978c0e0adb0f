# Sanitized programs are slow: a tenth of the long run shows them what they can see.
target_compile_definitions(${program} PRIVATE LONG_RUN=$<IF:$<BOOL:${POMONA_SANITIZE}>,200,2000>)
