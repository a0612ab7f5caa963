//! Medians, and numbers as the tables write them.

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A whole number with commas: `48,012`.
pub(super) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One number over another with two places, or a dash where there is none.
pub(super) fn ratio(value: f64, base: Option<f64>) -> String {
    match base {
        Some(base) if base > 0.0 => format!("{:.2}", value / base),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{median, ratio, whole};

    #[test]
    fn takes_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 9.0]).to_string(), "3");
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]).to_string(), "3");
    }

    #[test]
    fn writes_as_tables_do() {
        assert_eq!(whole(48_012.4), "48,012");
        assert_eq!(whole(-1_250.0), "-1,250");
        assert_eq!(whole(999.0), "999");
        assert_eq!(ratio(3.0, Some(2.0)), "1.50");
        assert_eq!(ratio(3.0, None), "-");
    }
}
