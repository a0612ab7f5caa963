//! Python inside this process, in builds that have it. In others a configuration that asks for it is refused.

#[cfg(feature = "embedded")]
mod inside {
    use std::sync::Arc;

    use toolbus_backends::tools::ToolServer;
    use toolbus_embedded::Embedded;
    use toolbus_model::Backend;

    pub(in crate::house) use toolbus_embedded::Settings;

    use crate::config;

    pub(in crate::house) fn settings(section: &config::Embedded) -> Result<Settings, String> {
        let mut settings = Settings::new(&section.module);
        settings.path.clone_from(&section.path);
        settings.venv.clone_from(&section.venv);
        settings.threads = section.threads.unwrap_or(settings.threads);
        settings.queue = section.queue.unwrap_or(settings.queue);
        Ok(settings)
    }

    pub(in crate::house) fn start(name: &str, settings: &Settings) -> Arc<dyn Backend> {
        Arc::new(ToolServer(Embedded::start(name, settings.clone())))
    }
}

#[cfg(not(feature = "embedded"))]
mod inside {
    use std::sync::Arc;

    use toolbus_model::Backend;

    use crate::config;

    /// There are none.
    pub(in crate::house) type Settings = std::convert::Infallible;

    pub(in crate::house) fn settings(_: &config::Embedded) -> Result<Settings, String> {
        let remedy = "build with `--features embedded`, or use `script` or `runner`";
        Err(format!("this build has no Python inside: {remedy}"))
    }

    pub(in crate::house) fn start(_: &str, settings: &Settings) -> Arc<dyn Backend> {
        match *settings {}
    }
}

#[cfg(all(test, not(feature = "embedded")))]
mod tests {
    use crate::config::Config;
    use crate::house::check_server;

    #[test]
    fn a_build_without_python_says_so() {
        let text = "[servers.calc.embedded]\nmodule = \"calc.py\"\n";
        let config: Config = toml::from_str(text).expect("a configuration");
        let problem = check_server("calc", &config.servers["calc"]).expect_err("a problem");
        let expected = "[servers.calc.embedded]: this build has no Python inside: build with";
        assert!(problem.starts_with(expected), "{problem}");
    }
}

pub(super) use inside::{Settings, settings, start};
