//! Rewrites a chat template before it is compiled, so that one rendering also tells which message and which
//! `{% generation %}` block each byte comes from.
//!
//!   {% generation %} .. {% endgeneration %}   the tags become markers in the output
//!   {% for m in .. %} .. {% endfor %}          a marker at the start of each turn and one behind the loop; the
//!                                              marker is empty unless the loop variable is one of the messages
//!   {% set m = messages[i] %}                  the same, where the loop runs over i
//!   {% set x = expr %}                         expr passes through a check of its size
//!
//! A marker is put down as `{% if true %}{{ .. }}{% endif %}` in the place of, or right behind, a block tag, with the
//! whitespace control of the original tag at its outer ends: so trimming does what it did before, byte for byte.

use crate::ffi::{fail, Outcome, Status};

/// Most operators one expression may have: each can make a value of the largest allowed size.
const MAX_OPERATORS: usize = 256;
const MAX_REPEATS: usize = 4;

pub struct Rewritten {
    pub source: String,
    pub has_generation: bool,
    /// Loops that get a marker; their ids are 0 .. loops.
    pub loops: usize,
    /// For each loop the bytes of the template between its tags: what one turn can print beside expressions.
    pub loop_bytes: Vec<usize>,
}

/// Where the tag that starts at `from` (just behind "{{" or "{%") ends: the index of its "}}" or "%}".
fn tag_end(text: &str, from: usize, block: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut operators = from;
    while operators < bytes.len() {
        let at = operators;
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                let mut i = at + 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                operators = i + 1;
                continue;
            }
            b'%' if block && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b'}' if !block && depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        operators += 1;
    }
    None
}

/// Byte positions outside string literals at which `wanted` holds.
fn outside_strings(text: &str, mut wanted: impl FnMut(&[u8], usize) -> bool) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'"' || bytes[i] == b'\'' {
            let quote = bytes[i];
            i += 1;
            while i < bytes.len() && bytes[i] != quote {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
        } else if wanted(bytes, i) {
            found.push(i);
        }
        i += 1;
    }
    found
}

fn check_operators(text: &str, line: usize) -> Outcome<()> {
    let joins = outside_strings(text, |bytes, i| bytes[i] == b'~' || bytes[i] == b'+').len();
    let repeats = outside_strings(text, |bytes, i| bytes[i] == b'*').len();
    if joins > MAX_OPERATORS || repeats > MAX_REPEATS {
        return fail(Status::Limit, format!("line {line}: the expression has too many operators"));
    }
    Ok(())
}

/// The names that `for <target> in` binds: "m", or "a, b".
fn loop_names(rest: &str) -> Option<Vec<&str>> {
    let target = &rest[..find_word(rest, "in")?];
    let names: Vec<_> =
        target.split(',').map(|name| name.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')')).collect();
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    (!names.is_empty() && names.iter().all(is_name)).then_some(names)
}

fn find_word(text: &str, word: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (0..bytes.len().saturating_sub(word.len() - 1)).find(|&i| {
        bytes[i..].starts_with(word.as_bytes())
            && !is_part(bytes.get(i + word.len()))
            && (i == 0 || !is_part(bytes.get(i - 1)))
    })
}

struct Tag<'a> {
    /// "-", "+" or "".
    left: &'a str,
    right: &'a str,
    keyword: &'a str,
    /// What stands behind the keyword, without the blanks around it.
    rest: &'a str,
}

fn split_tag(inner: &str) -> Tag<'_> {
    let sign = |c: char| c == '-' || c == '+';
    let (left, inner) = if inner.starts_with(sign) { inner.split_at(1) } else { ("", inner) };
    let (inner, right) = if inner.ends_with(sign) { inner.split_at(inner.len() - 1) } else { (inner, "") };
    let body = inner.trim();
    let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
    let (keyword, rest) = body.split_at(end);
    Tag { left, right, keyword, rest: rest.trim() }
}

struct Loop<'a> {
    id: usize,
    /// Where its body starts.
    body: usize,
    names: Vec<&'a str>,
}

/// Whether `value` picks an element by the variable of the loop: "messages[i]".
fn picks_by(value: &str, names: &[&str]) -> bool {
    let Some((list, index)) = value.strip_suffix(']').and_then(|v| v.split_once('[')) else { return false };
    !list.is_empty() && list.chars().all(|c| c.is_alphanumeric() || c == '_') && names.contains(&index.trim())
}

/// `set name = expr`: expr checked by a call; block sets and anything odd stay as they are.
fn rewrite_set(tag: &Tag<'_>, around: Option<&Loop<'_>>) -> Option<String> {
    let equals = outside_strings(tag.rest, |bytes, i| bytes[i] == b'=').into_iter().next()?;
    let (target, value) = (tag.rest[..equals].trim(), tag.rest[equals + 1..].trim());
    if target.is_empty() || value.is_empty() || value.starts_with('=') {
        return None;
    }
    let (left, right) = (tag.left, tag.right);
    let set = format!("{{%{left} set {target} = __ttx_checked(({value}))");
    if let Some(Loop { id, .. }) = around.filter(|l| picks_by(value, &l.names)) {
        return Some(format!("{set} %}}{{% if true %}}{{{{ __ttx_turn({id}, {target}) }}}}{{% endif {right}%}}"));
    }
    Some(format!("{set} {right}%}}"))
}

/// `names in expr`: none is nothing to loop over in Jinja, where the engine would take it for an empty list. Loops with a
/// condition, and recursive ones, stay as they are.
fn checked_loop(rest: &str) -> String {
    let odd = rest.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "if" || word == "recursive");
    match find_word(rest, "in") {
        Some(at) if !odd => format!("{}in __ttx_listed(({}))", &rest[..at], rest[at + 2..].trim()),
        _ => rest.to_string(),
    }
}

pub fn rewrite(source: &str) -> Outcome<Rewritten> {
    let mut out = String::with_capacity(source.len() * 2);
    let mut result =
        Rewritten { source: String::new(), has_generation: false, loops: 0, loop_bytes: Vec::new() };
    let mut open_loops: Vec<Option<Loop<'_>>> = Vec::new();
    let mut open_generations = 0usize;
    let mut at = 0;
    while let Some(found) = source[at..].find('{') {
        let start = at + found;
        let line = || source[..start].bytes().filter(|b| *b == b'\n').count() + 1;
        let opener = source.as_bytes().get(start + 1).copied();
        let (end, close) = match opener {
            Some(b'#') => (source[start..].find("#}").map(|i| start + i), 2),
            Some(b'{') => (tag_end(source, start + 2, false), 2),
            Some(b'%') => (tag_end(source, start + 2, true), 2),
            _ => {
                out.push_str(&source[at..=start]);
                at = start + 1;
                continue;
            }
        };
        let Some(end) = end else { break }; // an open tag: the compiler says so
        let next = end + close;
        out.push_str(&source[at..start]);
        at = next;
        let whole = &source[start..next];
        if opener != Some(b'#') {
            check_operators(&source[start + 2..end], line())?;
        }
        if opener != Some(b'%') {
            out.push_str(whole);
            continue;
        }
        let tag = split_tag(&source[start + 2..end]);
        let (left, right) = (tag.left, tag.right);
        match tag.keyword {
            "raw" if tag.rest.is_empty() => {
                // Everything up to the endraw tag is text.
                out.push_str(whole);
                let stop = find_endraw(source, next).unwrap_or(source.len());
                out.push_str(&source[next..stop]);
                at = stop;
            }
            "generation" if tag.rest.is_empty() => {
                result.has_generation = true;
                open_generations += 1;
                out.push_str(&format!("{{%{left} if true %}}{{{{ __ttx_generation(1) }}}}{{% endif {right}%}}"));
            }
            "endgeneration" if tag.rest.is_empty() => {
                if open_generations == 0 {
                    return fail(Status::Format, format!("line {}: endgeneration without generation", line()));
                }
                open_generations -= 1;
                out.push_str(&format!("{{%{left} if true %}}{{{{ __ttx_generation(0) }}}}{{% endif {right}%}}"));
            }
            "for" => match loop_names(tag.rest) {
                Some(names) => {
                    let id = result.loops;
                    result.loops += 1;
                    result.loop_bytes.push(0);
                    out.push_str(&format!(
                        "{{%{left} for {} %}}{{% if true %}}{{{{ __ttx_turn({id}, {}) }}}}{{% endif {right}%}}",
                        checked_loop(tag.rest),
                        names.join(", ")
                    ));
                    open_loops.push(Some(Loop { id, body: next, names }));
                }
                None => {
                    open_loops.push(None);
                    out.push_str(whole);
                }
            },
            "endfor" => match open_loops.pop().flatten() {
                Some(Loop { id, body, .. }) => {
                    result.loop_bytes[id] = start - body;
                    out.push_str(&format!(
                        "{{%{left} endfor %}}{{% if true %}}{{{{ __ttx_end({id}) }}}}{{% endif {right}%}}"
                    ));
                }
                None => out.push_str(whole),
            },
            "set" => out.push_str(&rewrite_set(&tag, open_loops.last().and_then(Option::as_ref)).unwrap_or_else(|| whole.to_string())),
            _ => out.push_str(whole),
        }
    }
    if open_generations != 0 {
        return fail(Status::Format, "generation without endgeneration");
    }
    out.push_str(&source[at..]);
    result.source = out;
    Ok(result)
}

fn find_endraw(source: &str, from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = source[at..].find("{%") {
        let start = at + found;
        let inner = source[start + 2..].trim_start_matches(['-', '+']).trim_start();
        if inner.starts_with("endraw") {
            return Some(start);
        }
        at = start + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_text_comments_and_raw_blocks_alone() {
        for text in ["", "a { b } c", "{# {% for x in y %} #}", "{% raw %}{% generation %}{% endraw %}", "{{ '%}' }}"] {
            assert_eq!(rewrite(text).unwrap().source, text);
        }
    }

    #[test]
    fn keeps_whitespace_control_at_the_outer_ends() {
        let out = rewrite("{%- generation +%}x{% endgeneration -%}").unwrap();
        assert!(out.has_generation);
        assert!(out.source.starts_with("{%- if true %}"));
        assert!(out.source.contains("{% endif +%}x{% if true %}"));
        assert!(out.source.ends_with("{% endif -%}"));
    }

    #[test]
    fn marks_loops_with_their_variables() {
        let out = rewrite("{% for k, v in x.items() %}{% for m in y %}{% endfor %}{% endfor %}").unwrap();
        assert_eq!(out.loops, 2);
        assert!(out.source.contains("__ttx_turn(0, k, v)"));
        assert!(out.source.contains("__ttx_turn(1, m)"));
        assert!(out.source.find("__ttx_end(1)") < out.source.find("__ttx_end(0)"));
    }

    #[test]
    fn checks_what_loops_run_over() {
        let looped = |text: &str| rewrite(text).unwrap().source;
        assert!(looped("{% for m in a.b + c %}{% endfor %}").contains("{% for m in __ttx_listed((a.b + c)) %}"));
        assert!(looped("{% for m in a if m.x %}{% endfor %}").contains("{% for m in a if m.x %}"));
        assert!(looped("{% for m in a recursive %}{% endfor %}").contains("{% for m in a recursive %}"));
    }

    #[test]
    fn checks_assigned_values() {
        assert_eq!(rewrite("{%- set ns.a = b == '=' -%}").unwrap().source,
                   "{%- set ns.a = __ttx_checked((b == '=')) -%}");
        let block = "{% set a %}x{% endset %}";
        assert_eq!(rewrite(block).unwrap().source, block);
    }

    #[test]
    fn marks_elements_picked_by_the_loop_variable() {
        let out = rewrite("{% for i in range(3) %}{%- set m = messages[i] -%}{% set n = messages[0] %}{% endfor %}").unwrap();
        assert!(out.source.contains(
            "{%- set m = __ttx_checked((messages[i])) %}{% if true %}{{ __ttx_turn(0, m) }}{% endif -%}"));
        assert!(out.source.contains("{% set n = __ttx_checked((messages[0])) %}{%"));
    }

    #[test]
    fn refuses_unbalanced_generation() {
        assert!(rewrite("{% generation %}").is_err());
        assert!(rewrite("{% endgeneration %}").is_err());
    }
}
