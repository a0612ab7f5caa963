//! Numbers as they are written: exact, of any size, and never more work than their text is long.

use std::cmp::Ordering;

/// A number as digits and a power of ten, without zeros at either end. Zero has no digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'a> {
    is_negative: bool,
    /// The digits, in two pieces: they may be written around a point.
    head: &'a [u8],
    tail: &'a [u8],
    /// Which power of ten the last digit stands for.
    exponent: i64,
}

/// Exponents beyond this are as good as this: no text has as many digits.
const FAR: i64 = 1 << 52;

impl<'a> Decimal<'a> {
    /// The number that JSON writes so.
    pub(super) fn of(text: &'a str) -> Self {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, power(exponent)),
            None => (text, 0),
        };
        let (head, tail) = digits.split_once('.').unwrap_or((digits, ""));
        let mut exponent = exponent.saturating_sub(length(tail.as_bytes()));
        let (mut head, mut tail) = (head.as_bytes(), tail.as_bytes());
        while let Some((b'0', rest)) = tail.split_last() {
            (tail, exponent) = (rest, exponent + 1);
        }
        while tail.is_empty()
            && let Some((b'0', rest)) = head.split_last()
        {
            (head, exponent) = (rest, exponent + 1);
        }
        while let Some((b'0', rest)) = head.split_first() {
            head = rest;
        }
        while head.is_empty()
            && let Some((b'0', rest)) = tail.split_first()
        {
            tail = rest;
        }
        let is_zero = head.is_empty() && tail.is_empty();
        Self {
            is_negative: is_negative && !is_zero,
            head,
            tail,
            exponent: if is_zero { 0 } else { exponent },
        }
    }

    /// It has no fraction: 1.0 and 1e3 are integers.
    pub(super) fn is_integer(self) -> bool {
        self.exponent >= 0
    }

    fn is_zero(self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    fn digits(self) -> impl Iterator<Item = u8> + Clone + 'a {
        self.head.iter().chain(self.tail).copied()
    }

    /// How far before the point the first digit stands.
    fn magnitude(self) -> i64 {
        self.exponent + length(self.head) + length(self.tail)
    }

    fn compare_sizes(self, other: Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Digits are compared from the first on; who has more of them then is larger, for none of them is a zero.
            (false, false) => self
                .magnitude()
                .cmp(&other.magnitude())
                .then_with(|| self.digits().cmp(other.digits())),
        }
    }

    /// Which one is larger.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_sizes(other),
            (true, true) => other.compare_sizes(self),
        }
    }

    /// Whether it is a whole multiple of a step.
    pub(super) fn is_multiple_of(self, step: Step) -> bool {
        if self.is_zero() {
            return true;
        }
        // Without zeros at the end it cannot be a multiple of what has more of them.
        let Ok(zeros) = u64::try_from(self.exponent - step.exponent) else {
            return false;
        };
        let of = u128::from(step.digits);
        let rest = self.digits().fold(0, |rest: u128, digit| {
            (rest * 10 + u128::from(digit - b'0')) % of
        });
        (rest * ten_to_the(zeros, of)).is_multiple_of(of)
    }

    /// The number as one to count by.
    pub(super) fn count(self) -> Option<u64> {
        if self.is_negative || !self.is_integer() {
            return None;
        }
        let digits = self.digits().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        let times = u32::try_from(self.exponent).ok();
        let power = times.and_then(|times| 10_u64.checked_pow(times));
        // What is beyond can never be reached by a length.
        Some(
            digits
                .zip(power)
                .and_then(|(digits, power)| digits.checked_mul(power))
                .unwrap_or(u64::MAX),
        )
    }

    /// The number in the one form that equal numbers share: sign, digits, power.
    pub(super) fn canonical(self, mut put: impl FnMut(&[u8])) {
        put(&[u8::from(self.is_negative)]);
        // One by one: the same digits may be cut by a point in different places.
        self.digits().for_each(|digit| put(&[digit]));
        put(&self.exponent.to_le_bytes());
    }
}

/// What `multipleOf` counts by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    digits: u64,
    exponent: i64,
}

impl Step {
    /// The step of this size, which must be above zero and of at most 18 digits.
    pub(super) fn of(number: Decimal<'_>) -> Option<Self> {
        let count = number.head.len() + number.tail.len();
        if number.is_negative || !(1..=18).contains(&count) {
            return None;
        }
        let digits = number
            .digits()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        Some(Self {
            digits,
            exponent: number.exponent,
        })
    }
}

fn power(text: &str) -> i64 {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = digits.bytes().fold(0_i64, |sum, digit| {
        (sum * 10 + i64::from(digit.wrapping_sub(b'0'))).min(FAR)
    });
    if is_negative { -size } else { size }
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(FAR)
}

/// What ten to this power leaves when it is divided.
fn ten_to_the(mut power: u64, of: u128) -> u128 {
    let (mut result, mut base) = (1 % of, 10 % of);
    while power > 0 {
        if power % 2 == 1 {
            result = result * base % of;
        }
        base = base * base % of;
        power /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_what_they_mean() {
        for same in [
            ["1", "1.0"],
            ["1e3", "1000.00"],
            ["-0", "0.0e7"],
            ["0.00120", "12e-4"],
            ["1e999999999999999", "10e999999999999998"],
        ] {
            let [a, b] = same.map(Decimal::of);
            assert_eq!(a.compare(b), Ordering::Equal, "{same:?}");
        }
        let rising = [
            "-1e400",
            "-20",
            "-3",
            "-0.5",
            "0",
            "1e-400",
            "0.49",
            "0.5",
            "3",
            "20",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551617",
            "1e400",
        ];
        for pair in rising.windows(2) {
            let (a, b) = (Decimal::of(pair[0]), Decimal::of(pair[1]));
            assert_eq!(a.compare(b), Ordering::Less, "{pair:?}");
            assert_eq!(b.compare(a), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn integers_may_be_written_with_a_point() {
        let is = |text| Decimal::of(text).is_integer();
        assert!(is("1.0") && is("-120e-1") && is("0.0") && is("1e400"));
        assert!(!is("1.5") && !is("1e-1"));
        let count = |text| Decimal::of(text).count();
        assert_eq!(count("2.0"), Some(2));
        assert_eq!(count("1e2"), Some(100));
        assert_eq!(count("1e400"), Some(u64::MAX));
        assert_eq!((count("-1"), count("1.5")), (None, None));
    }

    #[test]
    fn multiples_are_exact() {
        let is = |number, step| {
            let step = Step::of(Decimal::of(step)).expect("a step");
            Decimal::of(number).is_multiple_of(step)
        };
        assert!(is("4.02", "0.01") && is("0.0075", "0.0001") && is("1e308", "1e-8"));
        assert!(is("0", "7") && is("-21", "7") && is("12391239123", "1e-8"));
        assert!(is("1e1000000000", "8") && !is("1e1000000000", "7"));
        assert!(!is("0.00751", "0.0001") && !is("35", "1.6") && !is("30", "100"));
        assert!(!is("1e308", "0.123456789"));
        for none in ["0", "-1", "1234567890123456789"] {
            assert_eq!(Step::of(Decimal::of(none)), None, "{none}");
        }
    }
}
