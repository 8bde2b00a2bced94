//! The condition language of analysis metrics: pure, bounded, total. No I/O. No clock.
//!
//! A stand-in so far: `result < NUMBER`, `result > NUMBER`, and the same with `result[0]`.

use crate::domain::value::MetricValue;

/// A condition, parsed.
#[derive(Clone, Debug)]
pub struct Condition {
    is_first_of_list: bool,
    is_below: bool,
    bound: f64,
}

impl Condition {
    /// Parses `text`.
    ///
    /// # Errors
    /// A message when it is not of the form above.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [left @ ("result" | "result[0]"), operator @ ("<" | ">"), bound] = words.as_slice() else {
            return Err("not supported yet".to_owned());
        };
        let bound = bound.parse().map_err(|_| "not supported yet".to_owned())?;
        Ok(Self { is_first_of_list: *left == "result[0]", is_below: *operator == "<", bound })
    }

    /// Whether it holds for `value`.
    ///
    /// # Errors
    /// A message when `value` is not what the condition needs.
    pub fn eval(&self, value: &MetricValue) -> Result<bool, String> {
        let number = match value {
            MetricValue::Float(number) if !self.is_first_of_list => Some(*number),
            MetricValue::Floats(list) if self.is_first_of_list => list.first().copied(),
            MetricValue::Float(_)
            | MetricValue::Floats(_)
            | MetricValue::Int(_)
            | MetricValue::MapList(_)
            | MetricValue::Json(_)
            | MetricValue::Str(_)
            | MetricValue::Nil => None,
        };
        let none = "metric result is nil or empty: no data returned from the metric provider";
        let number = number.ok_or_else(|| none.to_owned())?;
        Ok(if self.is_below { number < self.bound } else { number > self.bound })
    }
}
