//! The templates and conditions of agent files: minijinja, strict, so that what is not there is an error and nothing empty.

use minijinja::{Environment, UndefinedBehavior};

/// What templates and expressions are read and evaluated in.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// What is wrong, for people.
pub(super) fn describe(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
