//! One Python file in several roles.

use anyhow::Result;

use super::Demo;

/// The configuration with the roles, from the top of the checkout.
const CONFIG: &str = "examples/roles/toolbus.toml";

/// The servers that are called: the same file behind each.
const ROLES: [&str; 3] = ["child", "runner", "warm"];

impl Demo<'_> {
    /// Calls the same tool in each role.
    pub(super) fn roles(&self) -> Result<()> {
        ROLES.iter().try_for_each(|role| {
            self.run(&format!(
                "{} call {CONFIG} {role}.locate city=Wien",
                self.program()
            ))
        })
    }
}
