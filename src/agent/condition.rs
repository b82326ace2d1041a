//! Conditions on the arguments of a call: minijinja expressions over `args`, such as `args.path is startingwith("notes/")`.
//!
//! Strict as templates are: an argument that is not there, or a result that is neither true nor false, is no answer, and
//! whoever asks must then be careful. What can be known to fail is found when the file is read.

use minijinja::{
    ErrorKind::{UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest},
    UndefinedBehavior, context,
    value::Serde,
};
use serde_json::Value;

use super::template::{check_expression, describe, environment, roomy};
use crate::yaml::{Faults, Node, nearest};

/// When a rule of the policy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    expression: String,
}

/// A condition that cannot be told for some arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy.{pattern:?}.when: {reason}")]
pub struct Unclear {
    /// Whose condition: the pattern of the rule.
    pub pattern: String,
    /// Why.
    pub reason: String,
}

impl Condition {
    /// The condition of a node; what is wrong with it is noted.
    pub(super) fn read(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = faults.text(node)?;
        if let Err(why) = check_expression(text) {
            faults.of(node, format!("the condition cannot be read: {why}"));
            return None;
        }
        let read = roomy(|| Condition::parse(text, node, faults));
        read.unwrap_or_else(|why| {
            faults.of(node, why);
            None
        })
    }

    fn parse(text: &str, node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut environment = environment();
        // Nothing is known of the arguments yet.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        let expression = match environment.compile_expression(text) {
            Ok(expression) => expression,
            Err(error) => {
                let hint = if text.contains("{{") { "; write the expression without {{ }}" } else { "" };
                faults.of(node, format!("the condition cannot be read: {}{hint}", describe(&error)));
                return None;
            }
        };
        let mut names: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        names.sort();
        let known = |name: &str| name == "args" || environment.globals().any(|(global, _)| global == name);
        for name in names.iter().filter(|name| !known(name)) {
            let hint = match nearest(name, ["args"]) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("did you mean args.{name}?"),
            };
            faults.of(
                node,
                format!("the condition uses {name}; all it knows is args, the arguments of the call; {hint}"),
            );
        }
        // Filters and tests are looked up when they are met. What else fails may be for want of arguments.
        let nothing = expression.eval(context! { args => context! {} });
        if let Err(error) = nothing
            && matches!(error.kind(), UnknownFilter | UnknownTest | UnknownFunction | UnknownMethod)
        {
            faults.of(node, format!("the condition can never be told: {}", describe(&error)));
        }
        Some(Condition { expression: text.to_owned() })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.expression
    }

    /// Whether it holds for these arguments, or why that cannot be told.
    pub(super) fn holds(&self, arguments: &Value) -> Result<bool, String> {
        roomy(|| {
            let environment = environment();
            let told = environment
                .compile_expression(&self.expression)
                .and_then(|expression| expression.eval(context! { args => Serde(arguments) }))
                .map_err(|error| format!("the condition fails: {}", describe(&error)))?;
            match told.kind() {
                minijinja::value::ValueKind::Bool => Ok(told.is_true()),
                kind => Err(format!("the condition comes to {kind} and not to true or false")),
            }
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_holds_or_does_not_or_cannot_be_told() {
        let arguments = json!({"path": "notes/a.txt", "amount": 5, "tags": ["a"], "to": {"name": "Ada"}, "none": null});
        let told = |expression: &str| Condition { expression: expression.to_owned() }.holds(&arguments).ok();
        for (expression, expected) in [
            ("true", Some(true)),
            ("args.amount < 10", Some(true)),
            ("args.amount > 10 or args.path == 'x'", Some(false)),
            ("args.path is startingwith('notes/')", Some(true)),
            ("args.path is startingwith('notes/') and '..' not in args.path", Some(true)),
            ("'a' in args.tags and args.to.name == 'Ada'", Some(true)),
            ("args.force is defined and args.force", Some(false)),
            ("args.force | default(false)", Some(false)),
            ("args.none is none", Some(true)),
            // What is not there is never smaller, other, or untrue.
            ("args.force", None),
            ("not args.force", None),
            ("args.force != true", None),
            ("args.missing < 10", None),
            ("args['missing'] < 10", None),
            ("args.missing is startingwith('notes/')", None),
            ("args.missing.deeper == 1", None),
            ("'a' in args.missing", None),
            ("args.path", None),
            ("args.amount", None),
            ("args.amount / 0 > 1", None),
        ] {
            assert_eq!(told(expression), expected, "{expression}");
        }
    }

    #[test]
    fn no_condition_that_is_taken_overflows_the_stack() {
        use super::super::template::EXPRESSION_BYTES_MAX;
        let fill = |start: &str, piece: &str, end: &str| {
            let room = EXPRESSION_BYTES_MAX - start.len() - end.len();
            format!("{start}{}{end}", piece.repeat(room / piece.len()))
        };
        // Deeper than a whole expression is bytes long, as a list that holds itself would be.
        let nested = (0..120).fold(json!(1), |inner, _| json!([inner]));
        for expression in [
            fill("1", "+1", " > 0"),
            fill("", "not ", "true"),
            fill("", "-", "1 < 0"),
            fill("args", ".a", ""),
            fill("args", "[0]", ""),
            fill("args", "|list", ""),
            fill("true", " and 1", ""),
            fill("", "(", ""),
            fill("", "[", ""),
            fill("", "1 if 1 else ", "1"),
            fill("1", "~1", " == ''"),
            fill("1", "<1", ""),
        ] {
            let condition = Condition { expression };
            for arguments in [json!({"a": nested}), json!({})] {
                // It holds or it does not; what counts is that the process lives.
                let _ = condition.holds(&arguments);
            }
        }
        let doubled = "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}";
        assert!(roomy(|| environment().render_str(doubled, ()).is_err()).unwrap(), "it is bounded in steps");
    }
}
