//! strftime for chat templates, from broken-down local time that the caller gives.

/// year, month 1-12, day 1-31, hour, minute, second, weekday (0 is Sunday), day of the year (0-365).
pub type Time = [i64; 8];

const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or("")
}

/// Python's formats without a locale; an unknown one is an error with its letter.
pub fn strftime(format: &str, time: &Time) -> Result<String, String> {
    let [year, month, day, hour, minute, second, weekday, yearday] = *time;
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut code = chars.next();
        let padded = code != Some('-');
        if !padded {
            code = chars.next();
        }
        let mut number = |value: i64, width: usize| {
            out.push_str(&if padded { format!("{value:0width$}") } else { value.to_string() })
        };
        match code {
            Some('Y') => number(year, 4),
            Some('y') => number(year.rem_euclid(100), 2),
            Some('m') => number(month, 2),
            Some('d') => number(day, 2),
            Some('H') => number(hour, 2),
            Some('I') => number(hour12, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('j') => number(yearday + 1, 3),
            Some('w') => number(weekday, 1),
            Some('u') => number(if weekday == 0 { 7 } else { weekday }, 1),
            Some('B') => out.push_str(name(&MONTHS, month - 1)),
            Some('b' | 'h') => out.push_str(name(&MONTHS, month - 1).get(..3).unwrap_or("")),
            Some('A') => out.push_str(name(&DAYS, weekday)),
            Some('a') => out.push_str(name(&DAYS, weekday).get(..3).unwrap_or("")),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => out.push_str(&format!("{year:04}-{month:02}-{day:02}")),
            Some('T') => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('R') => out.push_str(&format!("{hour:02}:{minute:02}")),
            Some('D') => out.push_str(&format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100))),
            Some('%') => out.push('%'),
            Some(other) => return Err(format!("strftime_now: unknown format %{other}")),
            None => return Err("strftime_now: the format ends in %".into()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn prints_dates() {
        let time = [2024, 7, 4, 13, 5, 9, 4, 185];
        assert_eq!(strftime("%d %b %Y", &time).unwrap(), "04 Jul 2024");
        assert_eq!(strftime("%A, %B %-d %I:%M %p 100%%", &time).unwrap(), "Thursday, July 4 01:05 PM 100%");
        assert!(strftime("%Q", &time).is_err());
        assert!(strftime("%", &time).is_err());
    }
}
