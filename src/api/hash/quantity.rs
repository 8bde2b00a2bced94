//! Kubernetes quantities (`500m`, `1.5Gi`, `1e3`) as exact decimals, and the one spelling that the API server prints.

use serde_json::Value;

use super::go_json;

/// How a quantity was written, which decides how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `1500m`, `2k`.
    DecimalSi,
    /// `2e3`.
    DecimalExponent,
    /// `512Mi`.
    BinarySi,
}

/// An amount: sign, digits and a power of ten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    amount: Decimal,
    format: Format,
    /// The text as written, where Kubernetes prints that again.
    written: Option<String>,
}

/// `digits * 10^exponent`; zero has no digits, other values neither leading nor trailing zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// The smallest unit, a billionth: whatever is finer is rounded up, away from zero.
const NANO: i64 = -9;

/// Digits that certainly fit 64 bits; Kubernetes takes another path for longer numbers.
const INT64_DIGITS: i64 = 18;

impl Quantity {
    pub(super) fn zero() -> Self {
        Self { amount: Decimal::new(false, vec![], 0), format: Format::DecimalSi, written: None }
    }

    /// Reads a string or a number; `None` where it is not a quantity.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&go_json::number_text(number)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if text == "0" {
            return Some(Self { written: Some("0".into()), ..Self::zero() });
        }
        let parts = Parts::split(text)?;
        let (format, exponent) = unit(parts.suffix)?;
        let places = i64::try_from(parts.fraction.len()).ok()?;
        let digits = parts.whole.bytes().chain(parts.fraction.bytes()).map(|digit| digit - b'0').collect();
        let mut amount = match format {
            Format::BinarySi => Decimal::new(parts.is_negative, doubled(digits, exponent), -places),
            Format::DecimalSi | Format::DecimalExponent => {
                Decimal::new(parts.is_negative, digits, i64::from(exponent) - places)
            }
        };
        let written = parts.is_canonical(format, exponent, places, &amount).then(|| text.to_owned());
        amount.round_up(NANO);
        let mut format = format;
        if format == Format::BinarySi {
            amount.cap_at_int64();
            if !amount.digits.is_empty() && amount.whole().is_some_and(|whole| whole == 0) {
                format = Format::DecimalSi;
            }
        }
        Some(Self { amount, format, written })
    }

    /// The spelling of the API server.
    pub(super) fn canonical(&self) -> String {
        if let Some(written) = &self.written {
            return written.clone();
        }
        if self.amount.digits.is_empty() {
            return "0".into();
        }
        match (self.format, self.amount.whole()) {
            (Format::BinarySi, Some(whole)) if whole >= 1024 && self.amount.exponent >= 0 => {
                binary(self, whole)
            }
            _ => self.decimal(),
        }
    }

    fn decimal(&self) -> String {
        let zeros = self.amount.exponent.rem_euclid(3);
        let exponent = self.amount.exponent - zeros;
        let unit = if self.format == Format::DecimalExponent {
            if exponent == 0 { String::new() } else { format!("e{exponent}") }
        } else {
            // Above exa there is no unit and Kubernetes prints none: `1000E` comes back as `1`.
            DECIMAL_UNITS.iter().find(|(_, e)| i64::from(*e) == exponent).map_or("", |(unit, _)| unit).into()
        };
        format!("{}{}{unit}", self.amount.mantissa(), &"00"[..usize::try_from(zeros).unwrap_or(0).min(2)])
    }

    /// A spelling that is the same for equal amounts and different for others. What counts is what the API server
    /// keeps after it has printed the amount once.
    pub(super) fn by_value(&self) -> Self {
        let kept = Self::parse(&self.canonical()).unwrap_or_else(|| self.clone());
        let written = format!("{}e{}", kept.amount.mantissa(), kept.amount.exponent);
        Self { written: Some(written), ..kept }
    }

    /// Rounded up to a thousandth, as the API server does with the amounts of a resource list.
    pub(super) fn rounded_to_milli(&self) -> Self {
        const MILLI: i64 = -3;
        let mut rounded = self.clone();
        rounded.amount.round_up(MILLI);
        rounded.written = None;
        rounded
    }
}

fn binary(quantity: &Quantity, whole: u128) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (mut rest, mut power) = (whole, 0);
    while rest % 1024 == 0 && rest != 0 {
        rest /= 1024;
        power += 1;
    }
    let sign = if quantity.amount.is_negative { "-" } else { "" };
    format!("{sign}{rest}{}", UNITS.get(power).unwrap_or(&""))
}

impl Decimal {
    fn new(is_negative: bool, mut digits: Vec<u8>, mut exponent: i64) -> Self {
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..leading);
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            Self { is_negative: false, digits, exponent: 0 }
        } else {
            Self { is_negative, digits, exponent }
        }
    }

    fn mantissa(&self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        format!("{sign}{}", if digits.is_empty() { "0" } else { &digits })
    }

    /// The whole part of the magnitude; `None` beyond 38 digits.
    fn whole(&self) -> Option<u128> {
        let length = i64::try_from(self.digits.len()).ok()? + self.exponent;
        if length > 38 {
            return None;
        }
        let digit =
            |index: i64| usize::try_from(index).ok().and_then(|index| self.digits.get(index)).copied();
        Some((0..length).fold(0, |sum, index| sum * 10 + u128::from(digit(index).unwrap_or(0))))
    }

    /// Rounds away from zero to a multiple of `10^unit`.
    fn round_up(&mut self, unit: i64) {
        if self.digits.is_empty() || self.exponent >= unit {
            return;
        }
        let dropped = usize::try_from(unit - self.exponent).unwrap_or(usize::MAX);
        // The last digit is never zero, so something is always lost.
        self.digits.truncate(self.digits.len().saturating_sub(dropped));
        let mut carry = true;
        for digit in self.digits.iter_mut().rev() {
            *digit += 1;
            carry = *digit == 10;
            if !carry {
                break;
            }
            *digit = 0;
        }
        if carry {
            self.digits.insert(0, 1);
        }
        *self = Self::new(self.is_negative, std::mem::take(&mut self.digits), unit);
    }

    fn cap_at_int64(&mut self) {
        const MOST: u128 = i64::MAX as u128;
        let is_above = self.whole().is_none_or(|whole| whole > MOST || (whole == MOST && self.exponent < 0));
        if is_above {
            let digits = MOST.to_string().bytes().map(|digit| digit - b'0').collect();
            *self = Self::new(self.is_negative, digits, 0);
        }
    }
}

/// A quantity's text, taken apart; `whole` without leading zeros, or `0`.
struct Parts<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    /// `[+-]digits[.digits]letters[[+-]digits]`; a bare sign and a bare point count as 0, as they do for Kubernetes.
    fn split(text: &'a str) -> Option<Self> {
        let digits_end = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let significant = unsigned.trim_start_matches('0');
        let (whole, rest) = significant.split_at(digits_end(significant));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits_end(rest)),
            None => ("", rest),
        };
        let power = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let power = power.strip_prefix(['-', '+']).unwrap_or(power);
        let is_whole = power.bytes().all(|byte| byte.is_ascii_digit());
        let whole = if whole.is_empty() { "0" } else { whole };
        is_whole.then_some(Self { is_negative: text.starts_with('-'), whole, fraction, suffix })
    }

    /// True where Kubernetes prints the text as it was written. That includes spellings that are not its own, such
    /// as `+5`, `05`, `1.234` and `1030Mi`.
    fn is_canonical(&self, format: Format, exponent: i32, places: i64, amount: &Decimal) -> bool {
        let length = i64::try_from(self.whole.len() + self.fraction.len()).unwrap_or(i64::MAX);
        match format {
            Format::BinarySi => {
                // About the decimal digits that the unit itself takes.
                let unit_digits = i64::from(exponent) * 3 / 10 + 1;
                let fits = amount.whole().is_some_and(|whole| whole <= i64::MAX as u128);
                let last: u64 = self.whole.parse().unwrap_or(0);
                places == 0 && 15 - length - unit_digits >= 0 && fits && !last.is_multiple_of(8)
            }
            Format::DecimalSi | Format::DecimalExponent => {
                let scale = i64::from(exponent) - places;
                let trailing: Vec<u8> = self.whole.bytes().chain(self.fraction.bytes()).collect();
                length <= INT64_DIGITS
                    && scale >= NANO
                    && scale % 3 == 0
                    && !trailing.ends_with(b"000")
                    && trailing.first() != Some(&b'0')
            }
        }
    }
}

const DECIMAL_UNITS: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The format and the power of its base that a suffix stands for.
fn unit(suffix: &str) -> Option<(Format, i32)> {
    const BINARY_UNITS: [(&str, i32); 6] =
        [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    let named =
        |units: &[(&str, i32)]| units.iter().find(|(unit, _)| *unit == suffix).map(|(_, power)| *power);
    if let Some(power) = named(&DECIMAL_UNITS) {
        return Some((Format::DecimalSi, power));
    }
    if let Some(power) = named(&BINARY_UNITS) {
        return Some((Format::BinarySi, power));
    }
    let power: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Kubernetes keeps the low 32 bits, and so the hash does"
    )]
    let power = power as i32;
    Some((Format::DecimalExponent, power))
}

/// `digits * 2^power`, for a power of at most 60.
fn doubled(digits: Vec<u8>, power: i32) -> Vec<u8> {
    let factor = 1u128 << power.clamp(0, 60);
    let mut product = vec![];
    let mut carry = 0u128;
    for digit in digits.into_iter().rev() {
        let sum = u128::from(digit) * factor + carry;
        product.push(u8::try_from(sum % 10).unwrap_or(0));
        carry = sum / 10;
    }
    while carry > 0 {
        product.push(u8::try_from(carry % 10).unwrap_or(0));
        carry /= 10;
    }
    product.reverse();
    product
}
