//! Figures as people read them: three digits that count, and a unit.

/// A rate or another plain figure.
pub fn plain(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A figure where 0 means that it couldn't be measured.
pub fn rate(value: f64) -> String {
    if value > 0.0 { plain(value) } else { "-".to_owned() }
}

/// A time, given in milliseconds.
pub fn time(ms: f64) -> String {
    match ms / 1e3 {
        s if s < 0.9995 => format!("{ms:.0} ms"),
        s if s < 99.95 => format!("{s:.1} s"),
        s => format!("{:.1} min", s / 60.0),
    }
}

/// Bytes in binary units.
pub fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= 0.9995 * *unit as f64) {
        Some((unit, name)) => format!("{} {name}", short(bytes / unit as f64)),
        None => format!("{bytes:.0} B"),
    }
}

/// As [`plain`], without zeros at the end.
pub fn short(value: f64) -> String {
    let text = plain(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_count() {
        let told = [0.0, 1.234, 9.996, 12.34, 99.96, 1234.5].map(plain);
        assert_eq!(told, ["0.00", "1.23", "10.0", "12.3", "100", "1234"]);
        assert_eq!([0.0, 7.0].map(rate), ["-", "7.00"]);
        assert_eq!([3.4, 999.6, 45_600.0, 120_000.0].map(time), ["3 ms", "1.0 s", "45.6 s", "2.0 min"]);
        let sizes = [512, 23_040, 200 << 20, 3 << 29, 1 << 30].map(bytes);
        assert_eq!(sizes, ["512 B", "22.5 KiB", "200 MiB", "1.5 GiB", "1 GiB"]);
    }
}
