//! Where the parts of a schema are: by identifier, by anchor, by pointer. Nothing outside of the schema is ever looked for.

use std::collections::HashMap;

use super::schema::ResourceId;
use super::uri;
use super::value::Value;

/// The dialects that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Draft 6 and 7: `$ref` hides what stands beside it, and anchors are written in `$id`.
    Old,
    /// 2019-09 and 2020-12.
    New,
}

impl Dialect {
    /// The dialect that a schema says it is written in; 2020-12 where it does not say.
    pub(super) fn of(schema: &Value<'_>) -> Result<Self, String> {
        let Some(named) = schema.get("$schema") else {
            return Ok(Self::New);
        };
        let named = named.text().unwrap_or_default();
        let plain = named
            .trim_end_matches('#')
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        match plain {
            "json-schema.org/draft/2020-12/schema"
            | "json-schema.org/draft/2019-09/schema"
            | "json-schema.org/schema" => Ok(Self::New),
            "json-schema.org/draft-07/schema" | "json-schema.org/draft-06/schema" => Ok(Self::Old),
            _ => Err(format!(
                "`$schema` {named:?} is a dialect that is not known here; write it in 2020-12"
            )),
        }
    }
}

/// A value within a schema: its place in memory, which stays while the schema is read.
type Place = usize;

fn place(value: &Value<'_>) -> Place {
    std::ptr::from_ref(value).addr()
}

/// A schema that has an identifier of its own.
#[derive(Debug)]
struct Resource<'v> {
    uri: String,
    root: &'v Value<'v>,
    anchors: HashMap<String, &'v Value<'v>>,
    dynamic: HashMap<String, &'v Value<'v>>,
}

/// Every place that a reference may lead to.
#[derive(Debug)]
pub(super) struct Resources<'v> {
    dialect: Dialect,
    list: Vec<Resource<'v>>,
    by_uri: HashMap<String, ResourceId>,
    /// Which resource a schema stands in.
    homes: HashMap<Place, ResourceId>,
}

/// Where a reference leads.
pub(super) struct Found<'v> {
    pub(super) schema: &'v Value<'v>,
    pub(super) resource: ResourceId,
    /// The name of the dynamic anchor, where it leads to one.
    pub(super) dynamic: Option<String>,
}

/// Keywords whose value is a schema, a list of them, or a table of them.
const ONE: [&str; 12] = [
    "not",
    "if",
    "then",
    "else",
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const TABLES: [&str; 6] = [
    "$defs",
    "definitions",
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];

impl<'v> Resources<'v> {
    pub(super) fn of(root: &'v Value<'v>, dialect: Dialect) -> Result<Self, String> {
        let mut resources = Self {
            dialect,
            list: Vec::new(),
            by_uri: HashMap::new(),
            homes: HashMap::new(),
        };
        let home = resources.open(uri::NAMELESS.to_owned(), root);
        // By hand, so that a deep schema costs no stack.
        let mut open = vec![(root, home)];
        while let Some((schema, home)) = open.pop() {
            let home = resources.note(schema, home)?;
            open.extend(parts(schema).map(|part| (part, home)));
        }
        Ok(resources)
    }

    fn open(&mut self, uri: String, root: &'v Value<'v>) -> ResourceId {
        let id = self.list.len();
        self.by_uri.entry(uri.clone()).or_insert(id);
        self.list.push(Resource {
            uri,
            root,
            anchors: HashMap::new(),
            dynamic: HashMap::new(),
        });
        id
    }

    /// Notes a schema and the names it gives itself; which resource it stands in.
    fn note(&mut self, schema: &'v Value<'v>, home: ResourceId) -> Result<ResourceId, String> {
        let text = |name| schema.get(name).and_then(Value::text);
        let is_hidden = self.dialect == Dialect::Old && schema.get("$ref").is_some();
        let mut home = home;
        if let Some(id) = text("$id").filter(|_| !is_hidden) {
            let (uri, fragment) = uri::resolve(&self.list[home].uri, id);
            if !id.starts_with('#') {
                home = self.open(uri, schema);
            }
            if !fragment.is_empty() {
                self.list[home].anchors.insert(fragment, schema);
            }
        }
        if schema.get("$recursiveRef").is_some() {
            return Err("`$recursiveRef` is not known here; use `$dynamicRef`".to_owned());
        }
        if let Some(anchor) = text("$anchor") {
            self.list[home].anchors.insert(anchor.to_owned(), schema);
        }
        if let Some(anchor) = text("$dynamicAnchor") {
            let resource = &mut self.list[home];
            resource.anchors.insert(anchor.to_owned(), schema);
            resource.dynamic.insert(anchor.to_owned(), schema);
        }
        self.homes.insert(place(schema), home);
        Ok(home)
    }

    /// The resource that a schema stands in, or else the one of whatever it stands in.
    pub(super) fn home(&self, schema: &Value<'_>, outer: ResourceId) -> ResourceId {
        self.homes.get(&place(schema)).copied().unwrap_or(outer)
    }

    /// Where a reference leads that stands in a resource.
    pub(super) fn find(&self, reference: &str, from: ResourceId) -> Result<Found<'v>, String> {
        let (uri, fragment) = uri::resolve(&self.list[from].uri, reference);
        let outside = || {
            format!(
                "`$ref` {reference:?} leads out of the schema, and nothing is fetched; put what it names into `$defs`"
            )
        };
        let id = *self.by_uri.get(&uri).ok_or_else(outside)?;
        let resource = &self.list[id];
        if fragment.is_empty() || fragment.starts_with('/') {
            let (schema, resource) = self
                .point(resource.root, &fragment, id)
                .ok_or_else(|| format!("`$ref` {reference:?} leads to nothing"))?;
            return Ok(Found {
                schema,
                resource,
                dynamic: None,
            });
        }
        let schema = resource.anchors.get(&fragment).copied();
        let schema = schema.ok_or_else(|| format!("`$ref` {reference:?} names no anchor"))?;
        let dynamic = resource.dynamic.contains_key(&fragment);
        Ok(Found {
            schema,
            resource: self.home(schema, id),
            dynamic: dynamic.then_some(fragment),
        })
    }

    fn point(
        &self,
        root: &'v Value<'v>,
        pointer: &str,
        home: ResourceId,
    ) -> Option<(&'v Value<'v>, ResourceId)> {
        let steps = pointer.split('/').skip(1);
        steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .try_fold((root, home), |(value, home), step| {
                let next = match value {
                    Value::List(list) => list.get(step.parse::<usize>().ok()?)?,
                    value => value.get(&step)?,
                };
                Some((next, self.home(next, home)))
            })
    }

    /// Every dynamic anchor.
    pub(super) fn dynamic(&self) -> Vec<(ResourceId, String, &'v Value<'v>)> {
        let each = |(id, resource): (usize, &Resource<'v>)| {
            let anchors = resource.dynamic.iter();
            let named = anchors.map(move |(name, schema)| (id, name.clone(), *schema));
            named.collect::<Vec<_>>()
        };
        self.list.iter().enumerate().flat_map(each).collect()
    }
}

/// The schemas within a schema, where the dialects have them.
fn parts<'v>(schema: &'v Value<'v>) -> impl Iterator<Item = &'v Value<'v>> {
    let one = ONE.iter().filter_map(|name| schema.get(name));
    let lists = LISTS.iter().filter_map(|name| schema.get(name));
    let lists = lists.flat_map(|list| match list {
        Value::List(list) => &list[..],
        _ => &[],
    });
    let tables = TABLES.iter().filter_map(|name| schema.get(name));
    let tables = tables.flat_map(|table| match table {
        Value::Object(members) => &members[..],
        _ => &[],
    });
    let all = one.chain(lists).chain(tables.map(|(_, value)| value));
    all.filter(|value| matches!(value, Value::Object(_)))
}
