//! From the text of a schema to nodes that can be held against values; what cannot be bounded is refused here.

use std::collections::{HashMap, VecDeque};

use super::keywords::Keywords;
use super::pattern::Room;
use super::resources::{Dialect, Resources};
use super::schema::{Keyword, Node, NodeId, ResourceId, Schema};
use super::value::{Bounds, Unread, Value};
use super::{set, ways};

/// Longest text of a schema, in bytes: larger than any that a model could read.
const MAX_TEXT: usize = 512 * 1024;

/// What a schema may consist of.
const BOUNDS: Bounds = Bounds {
    values: 50_000,
    depth: 100,
};

/// Reads a schema. The error says what is wrong with it, and where.
pub(super) fn compile(text: &[u8]) -> Result<Schema, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("it has more than {MAX_TEXT} bytes"));
    }
    let root = Value::read(text, BOUNDS).map_err(|error| match error {
        Unread::TooMany(limit) => format!("it has more than {limit} values"),
        Unread::TooDeep(limit) => format!("it is nested deeper than {limit} levels"),
        Unread::TooLong | Unread::Broken => "it is not JSON".to_owned(),
    })?;
    let dialect = Dialect::of(&root)?;
    let compiler = Compiler {
        resources: Resources::of(&root, dialect)?,
        dialect,
        known: HashMap::new(),
        waiting: VecDeque::new(),
        count: 0,
        room: Room::default(),
    };
    compiler.whole(&root, text.len())
}

/// A schema on its way from values to nodes.
pub(super) struct Compiler<'v> {
    pub(super) resources: Resources<'v>,
    pub(super) dialect: Dialect,
    /// The numbers of schemas that were met.
    known: HashMap<usize, NodeId>,
    /// Those that were met and are not read yet, in the order of their numbers.
    waiting: VecDeque<(&'v Value<'v>, ResourceId)>,
    count: usize,
    pub(super) room: Room,
}

impl<'v> Compiler<'v> {
    fn whole(mut self, root: &'v Value<'v>, length: usize) -> Result<Schema, String> {
        let home = self.resources.home(root, 0);
        let root = self.node(root, home);
        let anchors = self.resources.dynamic();
        let dynamic = anchors.into_iter().map(|(home, name, schema)| {
            let node = self.node(schema, home);
            ((home, name.into_boxed_str()), node)
        });
        let dynamic = dynamic.collect();
        let mut nodes = Vec::new();
        while let Some((schema, resource)) = self.waiting.pop_front() {
            let keywords = Keywords::read(schema, resource, &mut self)?;
            let tracks = keywords.iter().any(|keyword| {
                let own = |keyword: &Keyword| {
                    matches!(
                        keyword,
                        Keyword::UnevaluatedElements(_) | Keyword::UnevaluatedMembers(_)
                    )
                };
                own(keyword)
            });
            nodes.push(Node {
                resource,
                keywords,
                tracks,
            });
        }
        ways::check(&nodes)?;
        let weight = weight(&nodes) + length;
        Ok(Schema {
            nodes,
            root,
            dynamic,
            weight,
        })
    }

    /// The number of a schema, which is read later if it has not been.
    pub(super) fn node(&mut self, schema: &'v Value<'v>, resource: ResourceId) -> NodeId {
        let place = std::ptr::from_ref(schema).addr();
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        let id = self.count;
        self.count += 1;
        self.known.insert(place, id);
        self.waiting.push_back((schema, resource));
        id
    }

    /// The number of a schema within one of this resource.
    pub(super) fn part(&mut self, schema: &'v Value<'v>, outer: ResourceId) -> NodeId {
        let home = self.resources.home(schema, outer);
        self.node(schema, home)
    }
}

/// About what nodes hold, in bytes, besides the text they were read from.
fn weight(nodes: &[Node]) -> usize {
    let keyword = |keyword: &Keyword| match keyword {
        Keyword::Pattern(pattern) => pattern.weight(),
        Keyword::Properties(properties) => {
            let patterns = properties.patterns.iter();
            patterns.map(|(pattern, _)| pattern.weight()).sum()
        }
        Keyword::Enum(values) => {
            let sizes = values.values().iter().map(set::size);
            usize::try_from(sizes.sum::<u64>()).unwrap_or(usize::MAX / 64) * 32
        }
        _ => 0,
    };
    let keywords = nodes.iter().flat_map(|node| &node.keywords);
    let each = keywords.map(|known| size_of::<Keyword>() + keyword(known));
    each.sum::<usize>() + size_of_val(nodes)
}
