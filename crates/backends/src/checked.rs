//! A layer that checks arguments before anything runs, and results before they leave.

#![allow(dead_code)]
mod compile;
mod keywords;
mod number;
mod pattern;
mod problem;
mod resources;
mod run;
mod schema;
mod set;
mod uri;
mod value;
mod ways;
#[cfg(test)]
mod tests;
