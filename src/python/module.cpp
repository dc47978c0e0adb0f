#include "python/callbacks.h"
#include "python/graph.h"
#include "python/model.h"

NB_MODULE(_native, m) {
  m.doc() = "The library behind the package pomona; its own names may change.";
  pomona::python::bind_model(m);
  pomona::python::bind_verbs(m);
  pomona::python::bind_plans(m);
  pomona::python::bind_language(m);
  pomona::python::bind_graph(m);
  pomona::python::bind_build(m);
  pomona::python::bind_callbacks(m);
}
