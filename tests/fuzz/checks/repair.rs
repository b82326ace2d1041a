//! One call, as bytes: which tool, what else, and the arguments; with bit 0 of the second byte, the name as written
//! stands on the first line.

use std::{collections::HashMap, sync::OnceLock};

use agentd::{
    chat::WrittenCall,
    repair::{Class, DIAGNOSIS_BYTES_MAX, Outcome, Policy, Repair, Valid, clip, repair, replay},
};
use jsonschema::Validator;
use serde_json::Value;

use super::{byte, tools};

/// Checks what becomes of a call.
pub fn check(mut bytes: &[u8]) {
    let (which, flags, at) = (byte(&mut bytes), byte(&mut bytes), byte(&mut bytes));
    let text = String::from_utf8_lossy(bytes);
    let all = tools().tools();
    let tool = &all[usize::from(which) % all.len()];
    let (name, arguments) = match text.split_once('\n').filter(|_| flags & 1 != 0) {
        Some((name, arguments)) => (name, arguments),
        None => (tool.name.as_str(), &*text),
    };
    let call = written(name, arguments);
    let [off, lossless, unique] = [Policy::Off, Policy::Lossless, Policy::Unique].map(|policy| judged(&call, policy));
    assert!(!matches!(off, Outcome::Repaired(..)), "{call:?} is mended against the policy: {off:?}");
    // A wider policy never takes another reading.
    assert!(matches!(off, Outcome::AskAgain(_)) || off == lossless, "{call:?}: {off:?} and then {lossless:?}");
    assert!(matches!(lossless, Outcome::AskAgain(_)) || lossless == unique, "{call:?}: {lossless:?} and {unique:?}");

    let cut_off = judged(&WrittenCall { complete: false, ..call.clone() }, Policy::Unique);
    assert!(matches!(&cut_off, Outcome::AskAgain(why) if why.class == Class::Truncated), "{call:?}: {cut_off:?}");
    if let Outcome::Exact(valid) | Outcome::Repaired(valid, _) = &unique {
        cut(valid, usize::from(at));
    }
}

fn written(name: &str, arguments: &str) -> WrittenCall {
    WrittenCall { provider_id: None, name: name.to_owned(), arguments: arguments.into(), complete: true, opaque: None }
}

/// What a call comes to, and that this is sound.
fn judged(call: &WrittenCall, policy: Policy) -> Outcome {
    let outcome = repair(call, tools(), |_| policy);
    match &outcome {
        Outcome::Exact(valid) => {
            assert_eq!((valid.name.as_str(), &valid.arguments), (&*call.name, &call.arguments));
            assert_valid(call, valid);
        }
        Outcome::Repaired(valid, repairs) => {
            assert!(call.complete && !repairs.is_empty(), "{call:?}");
            assert!(repairs.iter().all(|repair| policy.allows(repair.risk)), "{call:?} {policy:?}: {repairs:?}");
            assert_replays(call, valid, repairs);
            assert_valid(call, valid);
            let again = repair(&written(valid.name.as_str(), &valid.arguments), tools(), |_| Policy::Unique);
            assert_eq!(again, Outcome::Exact(valid.clone()), "{call:?} needs more than one repair: {repairs:?}");
            assert!(valid.arguments.len() <= 2 * call.arguments.len().max(1), "{call:?} has grown: {valid:?}");
        }
        Outcome::AskAgain(why) => {
            assert!(!why.text.is_empty() && why.text.len() <= DIAGNOSIS_BYTES_MAX, "{call:?}: {why:?}");
        }
    }
    outcome
}

/// A validator that shares nothing with the ladder's says the same.
fn assert_valid(call: &WrittenCall, valid: &Valid) {
    static VALIDATORS: OnceLock<HashMap<String, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let each = tools().tools().iter();
        each.map(|tool| (tool.name.to_string(), jsonschema::validator_for(&tool.input_schema).unwrap())).collect()
    });
    let value: Value = serde_json::from_str(&valid.arguments).unwrap_or_else(|_| panic!("{call:?} becomes {valid:?}"));
    let validator = validators.get(valid.name.as_str()).unwrap_or_else(|| panic!("{call:?} becomes {valid:?}"));
    assert!(value.is_object() && validator.is_valid(&value), "{call:?} becomes {valid:?}");
}

fn assert_replays(call: &WrittenCall, valid: &Valid, repairs: &[Repair]) {
    let again = replay(&call.name, &call.arguments, repairs);
    assert_eq!(again, Some((valid.name.to_string(), valid.arguments.to_string())), "{call:?}: {repairs:?}");
}

/// A valid call that is cut is not executed; where a unique reading may be taken, closing brackets may be missing and
/// nothing else.
fn cut(valid: &Valid, at: usize) {
    let whole = valid.arguments.trim_end();
    let at = at % whole.len().max(1);
    let at = (0..=at).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
    let part = &whole[..at];
    if part.trim().is_empty() {
        // Servers write nothing for a call without arguments.
        return;
    }
    let call = written(valid.name.as_str(), part);
    let lossless = judged(&call, Policy::Lossless);
    assert!(matches!(lossless, Outcome::AskAgain(_)), "cut, and executed: {part:?}: {lossless:?}");
    if let Outcome::Repaired(closed, repairs) = judged(&call, Policy::Unique) {
        let part = part.trim_end();
        assert!(repairs.iter().all(|repair| repair.kind == "missing_closers"), "cut: {part:?}: {repairs:?}");
        assert!(closed.arguments.starts_with(part), "cut: {part:?}: {}", clip(&closed.arguments, 400));
        let open = part.ends_with(|last: char| last.is_ascii_digit() || ",:{[".contains(last));
        assert!(!open, "cut in the midst of a value: {part:?}");
    }
}
