//! What each keyword of a schema asks for, read once.

use super::compile::Compiler;
use super::number::{Decimal, Step};
use super::pattern::Pattern;
use super::resources::Dialect;
use super::schema::{Bound, Keyword, NodeId, Properties, ResourceId, Side, Types};
use super::set::Set;
use super::value::Value;

type Read<T> = Result<T, String>;

/// A keyword that puts schemas together.
type Combination = fn(Vec<NodeId>) -> Keyword;

/// The keywords of one schema, while they are read.
pub(super) struct Keywords<'v, 'c> {
    schema: &'v Value<'v>,
    home: ResourceId,
    compiler: &'c mut Compiler<'v>,
    read: Vec<Keyword>,
}

impl<'v, 'c> Keywords<'v, 'c> {
    pub(super) fn read(
        schema: &'v Value<'v>,
        home: ResourceId,
        compiler: &'c mut Compiler<'v>,
    ) -> Read<Vec<Keyword>> {
        let mut keywords = Self {
            schema,
            home,
            compiler,
            read: Vec::new(),
        };
        match schema {
            Value::Bool(true) => {}
            Value::Bool(false) => keywords.read.push(Keyword::Never),
            Value::Object(_) => keywords.all()?,
            _ => return Err("a schema in it is neither an object nor true or false".to_owned()),
        }
        // There may be many schemas of one keyword each.
        keywords.read.shrink_to_fit();
        Ok(keywords.read)
    }

    /// Cheap ones first, so that most that is wrong is found soon; `unevaluated...` last, for they ask what the others
    /// looked at.
    fn all(&mut self) -> Read<()> {
        self.references()?;
        if self.compiler.dialect == Dialect::Old && self.schema.get("$ref").is_some() {
            return Ok(());
        }
        self.any_value()?;
        self.numbers()?;
        self.texts()?;
        self.lists()?;
        self.objects()?;
        self.combinations()?;
        self.unevaluated();
        Ok(())
    }

    fn put(&mut self, keyword: Keyword) {
        self.read.push(keyword);
    }

    fn get(&self, name: &str) -> Option<&'v Value<'v>> {
        self.schema.get(name)
    }

    fn part(&mut self, schema: &'v Value<'v>) -> NodeId {
        self.compiler.part(schema, self.home)
    }

    fn one(&mut self, name: &str) -> Option<NodeId> {
        let schema = self.get(name)?;
        Some(self.part(schema))
    }

    fn many(&mut self, name: &str) -> Read<Option<Vec<NodeId>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list.iter().map(|one| self.part(one)).collect())),
            Some(_) => Err(format!("`{name}` must be a list of schemas")),
        }
    }

    fn table(&self, name: &str) -> Read<&'v [(std::borrow::Cow<'v, str>, Value<'v>)]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Object(members)) => Ok(members),
            Some(_) => Err(format!("`{name}` must be an object")),
        }
    }

    fn count(&self, name: &str) -> Read<Option<u64>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Decimal::of(number)
                .count()
                .map(Some)
                .ok_or_else(|| format!("`{name}` must be an integer of at least 0")),
            Some(_) => Err(format!("`{name}` must be an integer of at least 0")),
        }
    }

    fn bounds(&mut self, min: &str, max: &str, keyword: fn(Bound) -> Keyword) -> Read<()> {
        let (min, max) = (self.count(min)?, self.count(max)?);
        let bounds = [min.map(Bound::Min), max.map(Bound::Max)];
        self.read.extend(bounds.into_iter().flatten().map(keyword));
        Ok(())
    }

    fn references(&mut self) -> Read<()> {
        if let Some(reference) = self.get("$ref") {
            let reference = reference.text().ok_or("`$ref` must be text")?;
            let found = self.compiler.resources.find(reference, self.home)?;
            let node = self.compiler.node(found.schema, found.resource);
            self.put(Keyword::Ref(node));
        }
        if let Some(reference) = self.get("$dynamicRef") {
            let reference = reference.text().ok_or("`$dynamicRef` must be text")?;
            let found = self.compiler.resources.find(reference, self.home)?;
            let node = self.compiler.node(found.schema, found.resource);
            self.put(match found.dynamic {
                Some(name) => Keyword::DynamicRef(node, name.into()),
                None => Keyword::Ref(node),
            });
        }
        Ok(())
    }

    fn any_value(&mut self) -> Read<()> {
        let named = |value: &Value<'_>| {
            let known = value.text().and_then(Types::of);
            known.ok_or("`type` must be one of the seven types, or a list of them")
        };
        match self.get("type") {
            None => {}
            Some(Value::List(list)) => {
                let all = list.iter().try_fold(Types::default(), |all, value| {
                    named(value).map(|one| all.and(one))
                });
                self.put(Keyword::Type(all?));
            }
            Some(value) => self.put(Keyword::Type(named(value)?)),
        }
        if let Some(value) = self.get("const") {
            self.put(Keyword::Const(value.clone().into_owned()));
        }
        match self.get("enum") {
            None => {}
            Some(Value::List(list)) => {
                let values = list.iter().map(|value| value.clone().into_owned());
                self.put(Keyword::Enum(Set::new(values.collect())));
            }
            Some(_) => return Err("`enum` must be a list".to_owned()),
        }
        Ok(())
    }

    fn numbers(&mut self) -> Read<()> {
        let sides = [
            ("minimum", Side::AtLeast),
            ("exclusiveMinimum", Side::Above),
            ("maximum", Side::AtMost),
            ("exclusiveMaximum", Side::Below),
        ];
        for (name, side) in sides {
            match self.get(name) {
                None => {}
                Some(Value::Number(number)) => {
                    self.put(Keyword::Limit(side, number.as_ref().into()));
                }
                Some(_) => return Err(format!("`{name}` must be a number")),
            }
        }
        match self.get("multipleOf") {
            None => Ok(()),
            Some(Value::Number(number)) => {
                let step = Step::of(Decimal::of(number));
                let step = step.ok_or("`multipleOf` must be above 0, and of at most 18 digits")?;
                self.put(Keyword::MultipleOf(step, number.as_ref().into()));
                Ok(())
            }
            Some(_) => Err("`multipleOf` must be a number".to_owned()),
        }
    }

    fn texts(&mut self) -> Read<()> {
        self.bounds("minLength", "maxLength", Keyword::Length)?;
        match self.get("pattern") {
            None => Ok(()),
            Some(Value::Text(pattern)) => {
                let pattern = Pattern::new(pattern, &mut self.compiler.room)?;
                self.put(Keyword::Pattern(pattern));
                Ok(())
            }
            Some(_) => Err("`pattern` must be text".to_owned()),
        }
    }

    fn lists(&mut self) -> Read<()> {
        self.bounds("minItems", "maxItems", Keyword::Items)?;
        // A list in `items` is how older dialects write `prefixItems`; no dialect gives it another meaning.
        let is_old = matches!(self.get("items"), Some(Value::List(_)));
        let (first, rest) = match is_old {
            true => ("items", "additionalItems"),
            false => ("prefixItems", "items"),
        };
        let first = match is_old || self.compiler.dialect == Dialect::New {
            true => self.many(first)?,
            false => None,
        };
        let rest = self.one(rest);
        if first.is_some() || rest.is_some() {
            self.put(Keyword::Elements(first.unwrap_or_default(), rest));
        }
        if let Some(contained) = self.one("contains") {
            let (min, max) = match self.compiler.dialect {
                Dialect::New => (self.count("minContains")?, self.count("maxContains")?),
                Dialect::Old => (None, None),
            };
            self.put(Keyword::Contains(contained, min.unwrap_or(1), max));
        }
        if self.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.put(Keyword::Unique);
        }
        Ok(())
    }

    fn objects(&mut self) -> Read<()> {
        self.bounds("minProperties", "maxProperties", Keyword::Members)?;
        match self.get("required") {
            None => {}
            Some(list) => {
                let names = names(list).ok_or("`required` must be a list of names")?;
                self.put(Keyword::Required(names));
            }
        }
        let mut properties = Properties::default();
        for (name, schema) in self.table("properties")? {
            // The table is sorted, as every object is.
            properties
                .named
                .push((name.as_ref().into(), self.part(schema)));
        }
        for (pattern, schema) in self.table("patternProperties")? {
            let pattern = Pattern::new(pattern, &mut self.compiler.room)?;
            properties.patterns.push((pattern, self.part(schema)));
        }
        properties.additional = self.one("additionalProperties");
        let is_empty = properties.named.is_empty() && properties.patterns.is_empty();
        if !is_empty || properties.additional.is_some() {
            self.put(Keyword::Properties(properties));
        }
        if let Some(names) = self.one("propertyNames") {
            self.put(Keyword::PropertyNames(names));
        }
        self.dependencies()
    }

    fn dependencies(&mut self) -> Read<()> {
        let (mut fields, mut schemas) = (Vec::new(), Vec::new());
        let is_new = self.compiler.dialect == Dialect::New;
        let table = |name| match is_new {
            true => self.table(name),
            false => Ok(&[][..]),
        };
        let (required, dependent) = (table("dependentRequired")?, table("dependentSchemas")?);
        for (name, list) in required {
            let names = names(list).ok_or("`dependentRequired` must hold lists of names")?;
            fields.push((name.as_ref().into(), names));
        }
        for (name, schema) in dependent {
            schemas.push((name.as_ref().into(), self.part(schema)));
        }
        // What both were before 2019-09; no dialect gives it another meaning.
        for (name, value) in self.table("dependencies")? {
            match names(value) {
                Some(names) => fields.push((name.as_ref().into(), names)),
                None => schemas.push((name.as_ref().into(), self.part(value))),
            }
        }
        if !fields.is_empty() {
            self.put(Keyword::DependentRequired(fields));
        }
        if !schemas.is_empty() {
            self.put(Keyword::DependentSchemas(schemas));
        }
        Ok(())
    }

    fn combinations(&mut self) -> Read<()> {
        let kinds: [(_, Combination); 3] = [
            ("allOf", Keyword::AllOf),
            ("anyOf", Keyword::AnyOf),
            ("oneOf", Keyword::OneOf),
        ];
        for (name, kind) in kinds {
            if let Some(all) = self.many(name)? {
                self.put(kind(all));
            }
        }
        if let Some(not) = self.one("not") {
            self.put(Keyword::Not(not));
        }
        if let Some(test) = self.one("if") {
            let (then, otherwise) = (self.one("then"), self.one("else"));
            self.put(Keyword::If(test, then, otherwise));
        }
        Ok(())
    }

    fn unevaluated(&mut self) {
        if self.compiler.dialect == Dialect::Old {
            return;
        }
        if let Some(rest) = self.one("unevaluatedItems") {
            self.put(Keyword::UnevaluatedElements(rest));
        }
        if let Some(rest) = self.one("unevaluatedProperties") {
            self.put(Keyword::UnevaluatedMembers(rest));
        }
    }
}

fn names(list: &Value<'_>) -> Option<Vec<Box<str>>> {
    match list {
        Value::List(list) => list
            .iter()
            .map(|name| name.text().map(Into::into))
            .collect(),
        _ => None,
    }
}
