//! The Jinja environment that transformers renders chat templates in, on minijinja.

use crate::dates::{strftime, Time};
use crate::{limits, python_json, template};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use minijinja_contrib::pycompat;
use std::borrow::Cow;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn text_of(value: &Value) -> Cow<'_, str> {
    match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(value.to_string()),
    }
}

fn check_replaced(value: &str, from: &str, to: &str) -> Result<(), Error> {
    let found = value.matches(from).count();
    limits::check_size(value.len().saturating_add(found.saturating_mul(to.len())))
}

fn check_joined(items: &Value, separator: usize) -> Result<(), Error> {
    if let Ok(iterator) = items.try_iter() {
        let mut bytes = 0usize;
        for item in iterator {
            bytes = bytes.saturating_add(separator).saturating_add(item.as_str().map_or(32, str::len));
            limits::check_size(bytes)?;
        }
    }
    Ok(())
}

/// A width in a format string is at most four digits.
fn check_format(format: &str) -> Result<(), Error> {
    let mut digits = 0;
    for c in format.bytes() {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 4 {
            return Err(limits::exceeded("a number in a format string is too large"));
        }
    }
    Ok(())
}

fn replace(value: &Value, from: &Value, to: &Value) -> Result<Value, Error> {
    let (value, from, to) = (text_of(value), text_of(from), text_of(to));
    check_replaced(&value, &from, &to)?;
    Ok(Value::from(value.replace(from.as_ref(), to.as_ref())))
}

fn join(state: &mut State, value: &Value, rest: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let separator = rest.first().cloned().map_or(kwargs.get::<Option<Value>>("d")?, Some);
    let attribute = rest.get(1).cloned().map_or(kwargs.get::<Option<Value>>("attribute")?, Some);
    kwargs.assert_all_used()?;
    let separator = separator.unwrap_or_else(|| Value::from(""));
    let value = match attribute.filter(|a| !a.is_none()) {
        Some(attribute) => {
            let mut picked = Vec::new();
            for item in value.try_iter()? {
                picked.push(item.get_item(&attribute)?);
            }
            Value::from(picked)
        }
        None => value.clone(),
    };
    check_joined(&value, text_of(&separator).len())?;
    state.apply_filter("__ttx_join", &[value, separator])
}

fn indent(state: &mut State, value: &Value, rest: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let width = rest.first().cloned().map_or(kwargs.get::<Option<Value>>("width")?, Some);
    let first = rest.get(1).cloned().map_or(kwargs.get::<Option<Value>>("first")?, Some);
    let blank = rest.get(2).cloned().map_or(kwargs.get::<Option<Value>>("blank")?, Some);
    kwargs.assert_all_used()?;
    let width = width.map_or(Ok(4), |w| if let Some(s) = w.as_str() { Ok(s.len() as i64) } else { i64::try_from(w) })?;
    if !(0..=256).contains(&width) {
        return Err(limits::exceeded("indent is too wide"));
    }
    let text = text_of(value);
    let lines = text.bytes().filter(|b| *b == b'\n').count() + 1;
    limits::check_size(text.len().saturating_add(lines.saturating_mul(width as usize)))?;
    let flag = |v: Option<Value>| Value::from(v.is_some_and(|v| v.is_true()));
    state.apply_filter("__ttx_indent", &[value.clone(), Value::from(width), flag(first), flag(blank)])
}

fn format(state: &mut State, value: &Value, rest: Rest<Value>) -> Result<Value, Error> {
    check_format(&text_of(value))?;
    let mut args = vec![value.clone()];
    args.extend(rest.iter().cloned());
    state.apply_filter("__ttx_format", &args)
}

/// Python's methods: those of minijinja-contrib, the ones it lacks, and sizes checked before a value grows.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match (name, args) {
            ("replace", [from, to, ..]) => check_replaced(text, &text_of(from), &text_of(to))?,
            ("join", [items]) => check_joined(items, text.len())?,
            ("format", _) => check_format(text)?,
            ("removeprefix", [affix]) => {
                let affix = text_of(affix);
                return Ok(Value::from(text.strip_prefix(affix.as_ref()).unwrap_or(text)));
            }
            ("removesuffix", [affix]) => {
                let affix = text_of(affix);
                return Ok(Value::from(text.strip_suffix(affix.as_ref()).unwrap_or(text)));
            }
            ("partition", [separator]) => {
                let separator = text_of(separator);
                return Ok(match text.split_once(separator.as_ref()) {
                    Some((head, tail)) => strings([head, separator.as_ref(), tail]),
                    None => strings([text, "", ""]),
                });
            }
            ("rpartition", [separator]) => {
                let separator = text_of(separator);
                return Ok(match text.rsplit_once(separator.as_ref()) {
                    Some((head, tail)) => strings([head, separator.as_ref(), tail]),
                    None => strings(["", "", text]),
                });
            }
            ("rsplit", [separator]) if separator.as_str().is_some_and(|s| !s.is_empty()) => {
                return Ok(strings(text.split(separator.as_str().unwrap_or(" "))));
            }
            ("rsplit", [separator, count]) if separator.as_str().is_some_and(|s| !s.is_empty()) => {
                let separator = separator.as_str().unwrap_or(" ");
                let count = i64::try_from(count.clone())?;
                let parts: Vec<_> = if count < 0 {
                    text.split(separator).collect()
                } else {
                    let mut parts: Vec<_> = text.rsplitn(count as usize + 1, separator).collect();
                    parts.reverse();
                    parts
                };
                return Ok(strings(parts));
            }
            _ => {}
        }
    }
    pycompat::unknown_method_callback(state, value, name, args)
}

/// int(value, default=0): a text that is no number gives the default, blanks around one do not matter.
fn int(value: &Value, default: Option<Value>) -> Value {
    let parsed = match value.as_str().map(str::trim) {
        Some(text) => text.parse::<i64>().ok().or_else(|| text.parse::<f64>().ok().map(|f| f as i64)),
        None => match value.kind() {
            ValueKind::Number | ValueKind::Bool => {
                i64::try_from(value.clone()).ok().or_else(|| f64::try_from(value.clone()).ok().map(|f| f as i64))
            }
            _ => None,
        },
    };
    parsed.map_or_else(|| default.unwrap_or_else(|| Value::from(0)), Value::from)
}

/// float(value, default=0.0), as `int`.
fn float(value: &Value, default: Option<Value>) -> Value {
    let parsed = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    parsed.map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from)
}

fn strings<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    parts.into_iter().map(Value::from).collect()
}

/// `x is iterable` and `is sequence` count strings in, as in Python.
fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map)
}

pub fn make() -> Environment<'static> {
    let mut env = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        env.set_syntax(syntax);
    }
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_recursion_limit(limits::RECURSION);
    env.set_unknown_method_callback(method);
    env.set_formatter(|out, state, value| {
        if let Some(text) = value.as_str() {
            limits::charge(text.len())?;
        } else {
            limits::check_value(value)?;
        }
        minijinja::escape_formatter(out, state, value)
    });
    // Fill lists to any length, or show the whole context.
    for name in ["batch", "slice", "pprint", "zip", "chain"] {
        env.remove_filter(name);
    }
    env.remove_global("debug");
    env.add_filter("__ttx_join", minijinja::filters::join);
    env.add_filter("__ttx_indent", minijinja::filters::indent);
    env.add_filter("__ttx_format", minijinja::filters::format);
    env.add_filter("join", join);
    env.add_filter("indent", indent);
    env.add_filter("format", format);
    env.add_filter("replace", replace);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("tojson", python_json::tojson);
    env.add_test("iterable", is_iterable);
    env.add_test("sequence", is_iterable);
    env.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    env.add_function("raise_exception", |message: &Value| -> Result<Value, Error> {
        Err(invalid(format!("the template refuses the conversation: {message}")))
    });
    env.add_function("strftime_now", |state: &mut State, format: &str| -> Result<Value, Error> {
        let fields = state.lookup("__ttx_now").ok_or_else(|| invalid("strftime_now: no time given"))?;
        let mut time: Time = [0; 8];
        for (slot, field) in time.iter_mut().zip(fields.try_iter()?) {
            *slot = i64::try_from(field)?;
        }
        strftime(format, &time).map(Value::from).map_err(invalid)
    });
    template::add_markers(&mut env);
    env
}
