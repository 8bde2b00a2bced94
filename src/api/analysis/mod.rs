//! Analysis on the wire: templates become the spec of a run, a run object becomes what the engine works on, and its
//! status is printed as the reference prints it. No I/O.

mod arguments;
pub mod duration;
mod field;
mod flatten;
mod metric;
mod policy;
mod prometheus;
mod rollout_arguments;
mod run;
mod status;

#[cfg(test)]
mod tests;

pub use self::{
    flatten::{Hashes, NewRun, Scope, TemplateError, flatten},
    policy::METRIC_POLICY,
    run::parse_run,
    status::{parse_status, print_status, status_patch},
};
