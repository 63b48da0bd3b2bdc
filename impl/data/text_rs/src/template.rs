//! Chat templates: compile once, then render conversations, each in one pass that also gives the byte ranges of turns
//! and of `{% generation %}` blocks.

use crate::ffi::{fail, guard, one_line, text_in, Bytes, Failure, Outcome, Status};
use crate::{environment, limits, rewrite};
use minijinja::value::{Enumerator, Object, Rest};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

const LARGEST_TEMPLATE: usize = 1 << 20;
/// Markers in the output stand between two of one of these code points, which Unicode reserves for such use.
const MARKERS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

pub struct ChatTemplate {
    env: Environment<'static>,
    has_generation: bool,
    loop_bytes: Vec<usize>,
}

/// What the template sees as one element of `messages`: a map that also knows its place.
#[derive(Debug)]
pub struct Message {
    index: usize,
    fields: Value,
}

impl Object for Message {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.fields.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.fields.try_iter() {
            Ok(keys) => Enumerator::Values(keys.collect()),
            Err(_) => Enumerator::NonEnumerable,
        }
    }
}

thread_local! {
    // Of the rendering in progress on this thread.
    static MARKER: Cell<char> = const { Cell::new(*MARKERS.start()) };
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
    static LOOP_BYTES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// The loops that printed the marker of a turn. Others print nothing at their end either: what a template captures
    /// from a loop over something else stays as it was.
    static OPEN_LOOPS: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

fn mark(payload: std::fmt::Arguments<'_>) -> Value {
    let marker = MARKER.get();
    Value::from(format!("{marker}{payload}{marker}"))
}

/// The functions that rewrite.rs puts calls of into a template.
pub fn add_markers(env: &mut Environment<'static>) {
    env.add_function("__ttx_generation", |open: u32| mark(format_args!("g:{open}:0")));
    env.add_function("__ttx_turn", |id: usize, items: Rest<Value>| -> Result<Value, Error> {
        limits::check_time()?;
        limits::charge(LOOP_BYTES.with_borrow(|bytes| bytes.get(id).copied().unwrap_or(0)))?;
        for item in items.iter() {
            if let Some(message) = item.downcast_object_ref::<Message>() {
                CURRENT.set(Some(message.index));
                OPEN_LOOPS.with_borrow_mut(|open| open.get_mut(id).map(|flag| *flag = true));
                return Ok(mark(format_args!("t:{id}:{}", message.index)));
            }
        }
        Ok(Value::from(""))
    });
    env.add_function("__ttx_end", |id: usize| {
        let was_open = OPEN_LOOPS.with_borrow_mut(|open| open.get_mut(id).is_some_and(std::mem::take));
        if was_open { mark(format_args!("e:{id}:0")) } else { Value::from("") }
    });
    env.add_function("__ttx_listed", |value: Value| -> Result<Value, Error> {
        if value.is_none() {
            return Err(Error::new(ErrorKind::InvalidOperation, "none is not iterable"));
        }
        Ok(value)
    });
    env.add_function("__ttx_checked", |value: Value| -> Result<Value, Error> {
        limits::check_value(&value)?;
        Ok(value)
    });
}

fn describe(error: &Error) -> Failure {
    let status = if error.kind() == ErrorKind::OutOfFuel { Status::Limit } else { Status::Format };
    let mut text = match error.line() {
        Some(line) => format!("template line {line}: "),
        None => String::from("template: "),
    };
    match error.detail() {
        Some(detail) => text.push_str(detail),
        None if error.kind() == ErrorKind::OutOfFuel => text.push_str("takes too many steps"),
        None => text.push_str(&error.kind().to_string()),
    }
    Failure { status, message: one_line(&text) }
}

fn compile(source: &str) -> Outcome<ChatTemplate> {
    if source.len() > LARGEST_TEMPLATE {
        return fail(Status::Limit, format!("template: {} bytes are more than {LARGEST_TEMPLATE}", source.len()));
    }
    let rewritten = rewrite::rewrite(source)?;
    let mut env = environment::make();
    env.add_template_owned("chat", rewritten.source).map_err(|error| describe(&error))?;
    Ok(ChatTemplate { env, has_generation: rewritten.has_generation, loop_bytes: rewritten.loop_bytes })
}

/// A marker that no text of the context holds.
fn free_marker(context: &str) -> Outcome<char> {
    // All candidates start with 0xEF 0xB7 in UTF-8; JSON may also spell them \ufdd0.
    let first = *MARKERS.start();
    let escaped = ["\\ufd", "\\uFD", "\\uFd", "\\ufD"].iter().any(|spelling| context.contains(spelling));
    if !context.contains(first) && !escaped {
        return Ok(first);
    }
    let lower = context.to_lowercase();
    MARKERS
        .into_iter()
        .find(|marker| !context.contains(*marker) && !lower.contains(&format!("\\u{:04x}", *marker as u32)))
        .map_or_else(|| fail(Status::Argument, "the text uses every reserved code point from U+FDD0 to U+FDEF"), Ok)
}

/// The events of a rendering: kind, loop or flag, message, and the byte of the text they stand before.
pub type Event = [i64; 4];
pub const GENERATION: i64 = 0;
pub const TURN: i64 = 1;
pub const END: i64 = 2;

/// Takes the markers out of `raw`.
fn strip(raw: &str, marker: char) -> (String, Vec<Event>) {
    let mut text = String::with_capacity(raw.len());
    let mut events = Vec::new();
    // Text and payloads alternate: markers come in pairs, and no filter of a template cuts one without the other
    // unless it means to.
    for (index, part) in raw.split(marker).enumerate() {
        if index % 2 == 0 {
            text.push_str(part);
            continue;
        }
        let mut fields = part.split(':');
        let kind = match fields.next() {
            Some("g") => GENERATION,
            Some("t") => TURN,
            Some("e") => END,
            _ => continue,
        };
        let mut number = || fields.next().and_then(|f| f.parse::<i64>().ok()).unwrap_or(0);
        let (id, message) = (number(), number());
        events.push([kind, id, message, text.len() as i64]);
    }
    (text, events)
}

struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl std::io::Write for &mut Bounded {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            self.full = true;
            return Err(std::io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn to_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (_, _, number) => Value::from(number.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(to_value).collect::<Vec<_>>().into(),
        serde_json::Value::Object(fields) => Value::from_pairs(fields.iter().map(|(k, v)| (k.as_str(), to_value(v)))),
    }
}

fn render(template: &ChatTemplate, context: &str) -> Outcome<(String, Vec<Event>)> {
    let marker = free_marker(context)?;
    let mut fields: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(context) {
        Ok(fields) => fields,
        Err(error) => return fail(Status::Format, one_line(&format!("context: {error}"))),
    };
    let messages = match fields.remove("messages") {
        Some(serde_json::Value::Array(messages)) => messages,
        _ => return fail(Status::Format, "context: messages is not a list"),
    };
    let messages: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(index, message)| Value::from_object(Message { index, fields: to_value(message) }))
        .collect();
    let mut variables: Vec<(String, Value)> =
        fields.iter().map(|(name, value)| (name.clone(), to_value(value))).collect();
    variables.push(("messages".into(), Value::from(messages)));

    MARKER.set(marker);
    CURRENT.set(None);
    LOOP_BYTES.set(template.loop_bytes.clone());
    OPEN_LOOPS.set(vec![false; template.loop_bytes.len()]);
    limits::start(context.len());
    let mut env = template.env.clone();
    env.set_fuel(Some(limits::fuel(context.len())));
    let mut out = Bounded { bytes: Vec::new(), limit: limits::output_limit(context.len()), full: false };
    let compiled = env.get_template("chat").map_err(|error| describe(&error))?;
    let result = compiled.render_captured_to(Value::from_pairs(variables), &mut out).map(|_| ());
    if let Err(error) = result {
        let mut failure = describe(&error);
        if out.full {
            failure = Failure { status: Status::Limit, message: "template: the output is too large".into() };
        }
        if let Some(index) = CURRENT.get() {
            failure.message = format!("message {index}: {}", failure.message);
        }
        return Err(failure);
    }
    match String::from_utf8(out.bytes) {
        Ok(raw) => Ok(strip(&raw, marker)),
        Err(_) => fail(Status::Internal, "the rendering is not utf-8"),
    }
}

/// `has_generation` is set when the template has generation tags.
///
/// # Safety
/// The pointers are readable for their lengths; `out`, `has_generation` and `error` are writable.
#[no_mangle]
pub unsafe extern "C" fn ttx_template_open(
    source: *const u8, source_len: usize,
    out: *mut *mut ChatTemplate,
    has_generation: *mut bool,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let template = compile(text_in(source, source_len, "template")?)?;
        *has_generation = template.has_generation;
        *out = Box::into_raw(Box::new(template));
        Ok(())
    })
}

/// # Safety
/// `template` came from `ttx_template_open` and is not used again.
#[no_mangle]
pub unsafe extern "C" fn ttx_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// `context`: a JSON object with the variables of the template, `messages` among them. `events` gets the i64 of the
/// events, four each.
///
/// # Safety
/// As `ttx_template_open`.
#[no_mangle]
pub unsafe extern "C" fn ttx_template_render(
    template: *const ChatTemplate,
    context: *const u8, context_len: usize,
    text: *mut Bytes,
    events: *mut Bytes,
    error: *mut Bytes,
) -> i32 {
    guard(error, || {
        let (rendered, list) = render(&*template, text_in(context, context_len, "context")?)?;
        *text = Bytes::from_vec(rendered.into_bytes());
        *events = Bytes::from_vec(list.iter().flatten().flat_map(|n| n.to_ne_bytes()).collect());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(source: &str, context: serde_json::Value) -> Outcome<(String, Vec<Event>)> {
        render(&compile(source)?, &context.to_string())
    }

    #[test]
    fn gives_turns_and_generation_blocks() {
        let source = "{% for m in messages %}<{{ m.role }}>{% generation %}{{ m['content'] }}{% endgeneration %}{{ '\n' }}{% endfor %}!";
        let (text, events) = run(source, json!({"messages": [{"role": "a", "content": "x"}, {"role": "b", "content": "y"}]})).unwrap();
        assert_eq!(text, "<a>x\n<b>y\n!");
        assert_eq!(events, vec![[1, 0, 0, 0], [0, 1, 0, 3], [0, 0, 0, 4], [1, 0, 1, 5], [0, 1, 0, 8], [0, 0, 0, 9], [2, 0, 0, 10]]);
    }

    #[test]
    fn picks_a_marker_the_text_does_not_hold() {
        let source = "{% for m in messages %}{{ m.content }}{% endfor %}";
        let content = "\u{FDD0}g:1:0\u{FDD0}";
        let (text, events) = run(source, json!({"messages": [{"content": content}]})).unwrap();
        assert_eq!(text, content);
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn hostile_templates_end_as_errors() {
        for source in [
            "{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|join('') }}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ 'a' * 90000000 }}",
            "{{ ('a' * 9000000).replace('a', 'bbbbbbbbbbbbbbbb' * 1000000) }}",
            "{{ '%999999999d'|format(1) }}",
            "{{ 'a'|indent(999999999, true) }}",
            "{{ [1] * 90000000 }}",
        ] {
            let failure = run(source, json!({"messages": []})).err();
            assert!(failure.is_some(), "{source}");
        }
    }

    #[test]
    fn errors_name_the_message() {
        let source = "{% for m in messages %}{% if m.role == 'x' %}{{ raise_exception('no x') }}{% endif %}{% endfor %}";
        let failure = run(source, json!({"messages": [{"role": "a"}, {"role": "x"}]})).unwrap_err();
        assert_eq!(failure.message, "message 1: template line 1: the template refuses the conversation: no x");
    }
}
