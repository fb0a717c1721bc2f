// What is told about wrong configs: one line of this table each.
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helpers.hpp"

namespace weir::config::testing {
namespace {

using ::testing::HasSubstr;

struct Bad {
    std::string_view yaml;
    int line;
    int column;
    std::string_view message;
    std::string_view hint = "";
};

// A config with one thing wrong; an upstream is added behind where there is none.
const Bad kBad[] = {
    // Syntax: told alone, with a hint of its own.
    {"upstreams: [{name: a, key: ${K}}]", 1, 28, "`${...}` needs quotes", "write \"${K}\""},
    {"upstreams:\n  - {name: a, key: ${K:-}, url: x}", 2, 20, "needs quotes", "\"${K}\""},
    {"listen: [${LISTEN}]", 1, 10, "needs quotes", "\"${LISTEN}\""},
    {"models: *", 1, 9, "bare `*`", "\"*\""},
    {"upstreams:\n  - models: [a, *]", 2, 17, "bare `*`", "\"*\""},
    {"plans: {p: {models: *}}", 1, 21, "bare `*`", "\"*\""},
    {"data: *gpt", 1, 7, "refers to an anchor", "quotes"},
    {"limits:\n\thead: 1KiB", 2, 1, "a tab in the indentation", "spaces"},
    {"data: 'x\nworkers: 2\n", 1, 7, "has no end", "close it"},
    {"listen: a\ndata: \"x\nworkers: 2\n", 2, 7, "has no end", "close it"},
    {"data: a: b", 1, 8, "a `:` where no key can stand", "quotes"},
    {"limits:\n  head: 1KiB\n body: 1KiB", 3, 2, "does not belong to the map", "indent"},
    {"data: @x", 1, 7, "cannot begin with this character", "quotes"},
    {"data: `x`", 1, 7, "cannot begin with this character", "quotes"},
    {"data: \"a\\q\"", 1, 9, "an escape that YAML does not know", "backslash"},
    {"log: {level: info\ndata: x", 1, 6, "this `{` is not closed", "line 2"},
    {"listen: [\"1.1.1.1:1\"", 1, 9, "this `[` is not closed"},
    {"data: x\n]", 2, 1, "a closing bracket"},
    {"data: x\n---\ndata: y", 2, 1, "a second document", "---"},
    {"- a\ndata: y", 2, 1, "a second document", "indentation"},
    {"data: !x y", 1, 7, "tags are not supported", "quotes"},
    {"data: &x [*x]", 1, 11, "an alias inside of what it names"},
    {"{\"\xC3\xA9\": @}", 1, 7, "cannot begin"},  // columns are characters

    // The shape of the whole.
    {"just a text", 1, 1, "expected a map", ""},
    {"- upstreams", 1, 1, "expected a map of keys and values, found a list", ""},
    {"# nothing", 1, 1, "there is no upstream", "write `upstreams:"},
    {"upstreams: []", 1, 12, "there is no upstream", "write `upstreams:"},

    // Keys.
    {"lisen: x", 1, 1, "unknown key `lisen`", "did you mean `listen`?"},
    {"limits:\n  bodie: 1KiB", 2, 3, "unknown key `bodie` in `limits`", "did you mean `bodies`?"},
    {"cache: {memry: 1MiB}", 1, 9, "unknown key `memry` in `cache`", "`memory`"},
    {"team: {}", 1, 1, "unknown key `team`", "did you mean `teams`?"},
    {"xyzzy: 1", 1, 1, "unknown key `xyzzy`", "known here: listen, data"},
    {"listen:8080:", 1, 1, "the key `listen` in the config has no blank", "blank behind the `:`"},
    {"data: a\n  workers:2", 1, 7, "`data`: the value goes on on the next line", "behind its `:`"},
    {"\xEF\xBB\xBF"
     "lisen: x",
     1,
     1,
     "unknown key `lisen`",
     "did you mean `listen`?"},
    {"\xEF\xBB\xBFworkers: 0", 1, 10, "found `0`"},
    {"<<: {}", 1, 1, "unknown key `<<`", "merge keys"},
    {"${A}: 1", 1, 1, "unknown in the config: a key that is not shown", "values only"},
    {"a b: 1", 1, 1, "unknown in the config: a key that is not shown", "known here: listen"},
    {"? [a]\n: 1", 1, 3, "a key is a word, found a list"},
    {"data: a\nworkers: 2\ndata: b", 3, 1, "the key `data` stands twice; first on line 1"},
    {"cache:\n  ttl: 1h\n  ttl: 1h", 3, 3, "the key `ttl` stands twice; first on line 2"},
    {"plans:\n  p: {}\n  p: {}", 3, 3, "`p` stands twice in `plans`; first on line 2"},
    {"models: {a: {}, a: {}}", 1, 17, "`a` stands twice in `models`"},
    {"plans: {\"${X}\": {}}", 1, 9, "as a name in `plans`", "values only"},
    {"plans: {\"\": {}}", 1, 9, "a name in `plans`"},

    // Types, and values that are missing.
    {"limits:\nworkers: 2",
     1,
     1,
     "`limits`: expected a map of keys and values, found nothing",
     "remove it"},
    {"limits: []", 1, 9, "expected a map of keys and values, found a list"},
    {"workers:\n\n# none\ndata: x", 1, 1, "`workers`: expected a whole number", ""},
    {"workers: ~", 1, 10, "found nothing"},
    {"workers: [2]", 1, 10, "found a list"},
    {"workers: 0", 1, 10, "expected a whole number from 1 to 1024, found `0`"},
    {"workers: 1025", 1, 10, "from 1 to 1024"},
    {"workers: two", 1, 10, "found `two`"},
    {"workers: 2.5", 1, 10, "found `2.5`"},
    {"workers: 99999999999999999999", 1, 10, "from 1 to 1024"},
    {"data: \"\"", 1, 7, "path of a directory"},
    {"drain: 30", 1, 8, "expected a duration", "unit is missing"},
    {"drain: 2h", 1, 8, "`drain` is from 0s to 1 h, found `2h`"},
    {"drain: fast", 1, 8, "expected a duration such as"},
    {"limits: {head: 64kb}", 1, 16, "expected a size", "units are"},
    {"limits: {head: 64K}", 1, 16, "`limits.head`: expected a size", "units are"},
    {"limits: {head: 1}", 1, 16, "`limits.head` is from 1 KiB to 1 MiB"},
    {"limits: {head_time: 1ms}", 1, 21, "`limits.head_time` is from 100 ms to 10 min"},
    {"limits: {body: 600MiB}",
     1,
     16,
     "`limits.body` (600 MiB) is larger than `limits.bodies` (512 MiB)",
     "set `limits.bodies` too"},
    {"limits: {body: 2MiB, bodies: 1MiB}", 1, 30, "is larger than `limits.bodies` (1 MiB)"},
    {"limits: {connections: 0}", 1, 23, "from 1 to 1000000"},
    {"log: {level: trace}", 1, 14, "one of `debug`, `info`, `warn`, `error`, `off`, found `trace`"},
    {"log: {level: inof}", 1, 14, "found `inof`", "did you mean `info`?"},
    {"log: {format: xml}", 1, 15, "one of `auto`, `json`, `text`"},
    {"log: {requests: some}", 1, 17, "one of `all`, `none`"},
    {"cache: {enabled: yes}", 1, 18, "expected true or false, found `yes`", "write `true`"},
    {"cache: {enabled: off}", 1, 18, "expected true or false", "write `false`"},
    {"cache: {scope: teams}", 1, 16, "one of `key`, `team`, `all`", "did you mean `team`?"},
    {"cache: {when: sometimes}", 1, 15, "`cache.when`: expected one of `always`, `deterministic`"},
    {"cache: {rules: {models: a}}", 1, 16, "`cache.rules`: expected a list of rules, found a map"},
    {"cache: {rules: [{models: a}]}", 1, 17, "the rule says neither `when` nor `ttl`"},
    {"cache: {rules: [{when: allways}]}",
     1,
     24,
     "one of `always`, `deterministic`, `never`",
     "`always`"},
    {"cache: {rules: [{ttl: 0s}]}", 1, 23, "`ttl` is from 1 s"},
    {"cache: {rules: [{ttl: 1h, model: a}]}", 1, 27, "unknown key `model`", "`models`"},
    {"cache: {rules: [a]}", 1, 17, "a rule of the cache is a map"},
    {"plans: {plus: {}}\ncache: {rules: [{ttl: 1h, plans: pluss}]}",
     2,
     34,
     "`plans`: there is no plan `pluss`",
     "`plus`"},
    {"plans: {plus: {}}\ncache: {rules: [{ttl: 1h, plans: []}]}", 2, 34, "`plans` is empty"},
    {"cache: {ignore: [usr]}", 1, 18, "there is no member to leave out `usr`", "`user`"},
    {"cache: {ignore: temperature}", 1, 17, "there is no member to leave out `temperature`"},
    {"cache: {replay: slow}", 1, 17, "one of `fast`, `paced`"},
    {"cache: {finish_abandoned: 2h}", 1, 27, "`cache.finish_abandoned` is from"},
    {"cache: {ttl: 0s}", 1, 14, "`cache.ttl` is from 1 s"},
    {"cache: {max_entry: 1GiB, max_size: 1MiB}",
     1,
     20,
     "`cache.max_entry` (1 GiB) is larger than `cache.max_size` (1 MiB)"},
    {"store: postgres", 1, 8, "expected `sqlite`"},
    {"demo: always", 1, 7, "one of `never`, `when no upstream has a key`, found `always`"},

    // listen
    {"listen: 8080", 1, 9, "expected an address and a port", "write \"127.0.0.1:8080\""},
    {"listen: 127.0.0.1", 1, 9, "an address and a port", "write \"127.0.0.1:8080\""},
    {"listen: \":8080\"", 1, 9, "an address and a port", "\"0.0.0.0:8080\""},
    {"listen: localhost:80", 1, 9, "an address and a port", "write \"127.0.0.1:80\""},
    {"listen: \"::1:80\"", 1, 9, "an address and a port", "brackets"},
    {"listen: 127.0.0.1:65536", 1, 9, "an address and a port", "0 to 65535"},
    {"listen: 127.0.0.1:http", 1, 9, "an address and a port", "0 to 65535"},
    {"listen: 300.0.0.1:80", 1, 9, "found `300.0.0.1:80`"},
    {"listen: []", 1, 9, "nobody could connect"},
    {"listen: [\"1.1.1.1:1\", \"1.1.1.1:1\"]", 1, 23, "stands twice"},
    {"listen:\n  - 1.1.1.1:1\n  -\n  - 1.1.1.1:2", 3, 3, "found nothing"},
    {"listen: [{}]", 1, 10, "has no `address`"},
    {"listen: [{adress: x}]", 1, 11, "unknown key `adress`", "`address`"},

    // upstreams
    {"upstreams: {name: a}", 1, 12, "`upstreams`: expected a list of upstreams, found a map"},
    {"upstreams: [a]", 1, 13, "an upstream: expected a map"},
    {"upstreams: [{url: \"http://h\"}]", 1, 13, "has no `name`"},
    {"upstreams: [{name: a}]", 1, 13, "has no `url`"},
    {"upstreams: [{name: \" a\", url: \"http://h\"}]", 1, 20, "expected a name"},
    {"upstreams: [{name: a, url: \"http://h\"}, {name: a, url: \"http://i\"}]",
     1,
     48,
     "the upstream `a` stands twice; first on line 1"},
    {"upstreams: [{name: a, url: api.openai.com}]", 1, 28, "no `https://` in front"},
    {"upstreams: [{name: a, url: \"ftp://h\"}]", 1, 28, "only http and https"},
    {"upstreams: [{name: a, url: \"https://u:p@h\"}]", 1, 28, "user or password"},
    {"upstreams: [{name: a, url: \"https://h/?x=1\"}]", 1, 28, "query"},
    {"upstreams: [{name: a, url: \"https://h/#x\"}]", 1, 28, "fragment"},
    {"upstreams: [{name: a, url: \"https://\"}]", 1, 28, "no host"},
    {"upstreams: [{name: a, url: \"https://:80\"}]", 1, 28, "no host"},
    {"upstreams: [{name: a, url: \"https://h:0\"}]", 1, 28, "port"},
    {"upstreams: [{name: a, url: \"https://h:65536\"}]", 1, 28, "port"},
    {"upstreams: [{name: a, url: \"https://h:\"}]", 1, 28, "port"},
    {"upstreams: [{name: a, url: \"https://h h\"}]", 1, 28, "not a host name"},
    {"upstreams: [{name: a, url: \"https://[1.2.3.4]\"}]", 1, 28, "IPv6"},
    {"upstreams: [{name: a, url: \"https://[::1\"}]", 1, 28, "no `]`"},
    {"upstreams: [{name: a, url: \"https://h/a b\"}]", 1, 28, "characters"},
    {"upstreams: [{name: a, url: \"https://h/a/../b\"}]", 1, 28, "`..`"},
    {"upstreams: [{name: a, url: \"https://h/v1/chat/completions\"}]", 1, 28, "base address"},
    {"upstreams: [{name: a, url: \"http://h\", key: \"sk x\"}]", 1, 45, "visible ASCII"},
    {"upstreams: [{name: a, url: \"http://h\", key: \"sk\\n\"}]",
     1,
     45,
     "visible ASCII",
     "line break"},
    {"upstreams: [{name: a, url: \"http://h\", key: \"Bearer sk\"}]",
     1,
     45,
     "visible ASCII",
     "without `Bearer `"},
    {"upstreams: [{name: a, url: \"http://h\", key: \"${GONE}\"}]",
     1,
     45,
     "the environment has no `GONE`",
     "${GONE:-...}"},
    {"upstreams: [{name: a, url: \"http://h\", models: []}]", 1, 48, "nothing matches", "[\"*\"]"},
    {"upstreams: [{name: a, url: \"http://h\", models: \"a, b\"}]",
     1,
     48,
     "expected a model pattern",
     "as a list"},
    {"upstreams: [{name: a, url: \"http://h\", models: [{}]}]", 1, 49, "found a map"},
    {"upstreams: [{name: a, url: \"http://h\", priority: -1}]", 1, 50, "from 0 to 1000"},
    {"upstreams: [{name: a, url: \"http://h\", timeouts: {conect: 1s}}]",
     1,
     51,
     "unknown key `conect` in `timeouts`",
     "`connect`"},
    {"upstreams: [{name: a, url: \"http://h\", timeouts: {total: 5}}]",
     1,
     58,
     "`timeouts.total`: expected a duration",
     "unit"},
    {"upstreams: [{name: a, url: \"https://h\", ca: /none}]",
     1,
     45,
     "`ca`: cannot be read as a file: `/none`"},
    {"upstreams: [{name: a, url: \"https://h\", ca: /empty}]", 1, 45, "`ca`: no certificate in"},
    {"upstreams: [{name: a, url: \"https://h\", ca: /cut}]",
     1,
     45,
     "`ca`: certificate 2 cannot be read in `/cut`",
     "PEM"},
    {"upstreams: [{name: a, url: \"https://h\", ca: /words}]", 1, 45, "certificate 1 cannot"},
    {"upstreams: [{name: a, url: \"https://h\", ca: /begun}]", 1, 45, "`ca`: "},
    {"upstreams: [{name: a, url: \"http://h\", ca: /ca.pem}]", 1, 44, "is for https"},
    {"upstreams: [{name: a, url: \"http://h\", stream_usage: 2}]", 1, 54, "expected true or false"},

    // models
    {"models: [gpt-4]", 1, 9, "expected a map of model names, found a list"},
    {"models: {a: b}", 1, 13, "expected a map for `a`", "{serve_as: NAME}"},
    {"models: {a: {serve_as: a}}", 1, 24, "`a` is served as itself", "remove"},
    {"models: {a: {serveas: b}}", 1, 14, "unknown key `serveas`", "`serve_as`"},
    {"models: {\"a*\": {serve_as: b}}", 1, 10, "`a*` is a pattern"},
    {"models: {a: {serve_as: \"b*\"}}", 1, 24, "`b*` is a pattern"},

    // plans
    {"plans: [plus]", 1, 8, "expected a map of plans"},
    {"plans: {p: }", 1, 9, "the plan `p`: expected a map", "remove it"},
    {"plans: {p: {caps: {}}}", 1, 19, "expected a list of caps, found a map"},
    {"plans: {p: {caps: [100/4h]}}", 1, 20, "expected a map, found a single value", "allow: 100/4h"
    },
    {"plans: {p: {caps: [{}]}}", 1, 20, "has no `allow`"},
    {"plans: {p: {caps: [{allow: 100}]}}", 1, 28, "`allow`: expected an amount per time"},
    {"plans: {p: {caps: [{allow: 1/33d}]}}", 1, 28, "32 days"},
    {"plans: {p: {caps: [{allow: 1/year}]}}", 1, 28, "`allow`: a cap is over at most a month"},
    {"plans: {p: {caps: [{allow: $5/day}]}}", 1, 28, "`5 usd/day`, found `$5/day`"},
    {"plans: {p: {caps: [{allow: [1/d]}]}}", 1, 28, "found a list"},
    {"plans: {p: {caps: [{models: [a, b], allow: 1/day}]}}",
     1,
     29,
     "is one pattern",
     "a cap for each"},
    {"plans: {p: {caps: [{allow: 1/1d}, {models: \"*\", allow: 2/24h}]}}",
     1,
     35,
     "counts the same as the one on line 1: messages in 1 day for the same `models`"},
    {"plans: {p: {models: []}}", 1, 21, "nothing matches"},
    {"plans: {p: {dney: []}}", 1, 13, "unknown key `dney` in the plan `p`", "`deny`"},

    // keys
    {"keys: {}", 1, 7, "expected a list of keys"},
    {"keys: [alice]", 1, 8, "a key: expected a map"},
    {"plans: {p: {}}\nkeys: [{plan: p, secret: 0123456789abcdef}]", 2, 8, "has no `name`"},
    {"keys: [{name: a, secret: 0123456789abcdef}]", 1, 8, "has no `plan`"},
    {"plans: {p: {}}\nkeys: [{name: a, plan: p}]", 2, 8, "has no `secret`", "${ALICE_KEY}"},
    {"plans: {plus: {}}\nkeys: [{name: a, plan: plsu, secret: 0123456789abcdef}]",
     2,
     24,
     "there is no plan `plsu`",
     "did you mean `plus`?"},
    {"plans: {plus: {}}\nkeys: [{name: a, plan: x, secret: 0123456789abcdef}]",
     2,
     24,
     "there is no plan `x`",
     "plans are: plus"},
    {"keys: [{name: a, plan: x, secret: 0123456789abcdef}]",
     1,
     24,
     "there is no plan `x`",
     "there are no plans"},
    {"plans: {p: {}}\nkeys: [{name: a, plan: p, secret: 0123456789abcde}]",
     2,
     35,
     "has 15 characters, fewer than 16",
     "openssl rand"},
    {"plans: {p: {}}\nkeys: [{name: a, plan: p, secret: \"${GONE:-}\"}]", 2, 35, "has 0 characters"
    },
    {"plans: {p: {}}\nkeys:\n- {name: a, plan: p, secret: 0123456789abcdef}\n- {name: a, plan: p, "
     "secret: 1123456789abcdef}",
     4,
     10,
     "the key `a` stands twice; first on line 3"},
    {"plans: {p: {}}\nkeys:\n- {name: a, plan: p, secret: 0123456789abcdef}\n- {name: b, plan: p, "
     "secret: 0123456789abcdef}",
     4,
     30,
     "the same `secret` as the key on line 3"},
    {"plans: {p: {}}\nkeys: [{name: b, plan: p, secret: 0123456789abcdef}]\nupstreams: [{name: u, "
     "url: \"http://h\", key: 0123456789abcdef}]",
     2,
     35,
     "the same `secret` as an upstream's `key`"},

    // models, prices, timezone
    {"models: {a: {max_output: 0}}", 1, 26, "`max_output`: expected a whole number from 1"},
    {"prices: [a]", 1, 9, "expected a map of models and their prices, found a list"},
    {"prices: {a: 30}", 1, 13, "expected a map for `a`", "{input: 2.50, output: 10}"},
    {"prices: {a: {}}", 1, 13, "a price has no `input`", "{input: 2.50, output: 10}"},
    {"prices: {a: {output: 1}}", 1, 13, "a price has no `input`"},
    {"prices: {a: {input: -1}}", 1, 21, "`input`: expected usd per million tokens"},
    {"prices: {a: {input: $1}}", 1, 21, "found `$1`", "the number alone"},
    {"prices: {a: {input: 1, output: 1e3}}", 1, 32, "`output`: expected usd"},
    {"prices: {a: {input: 0.0000000001}}", 1, 21, "at most 9 digits"},
    {"prices: {a: {input: 1000000.1}}", 1, 21, "up to 1000000"},
    {"prices: {a: {input: 1, cached: 1}}", 1, 24, "unknown key `cached`", "cached_input"},
    {"prices: {a: {input: 1}, a: {input: 2}}", 1, 25, "`a` stands twice in `prices`"},
    {"prices: {\"gpt-*\": {input: 1}, GPT-4: {input: 2}}",
     1,
     31,
     "the price of `GPT-4` is never used: `gpt-*` on line 1 fits first",
     "above"},
    {"prices: {\"a*\": {input: 1}, \"a?b*\": {input: 2}}", 1, 28, "never used"},
    {"timezone: Asia/Shangai", 1, 11, "no time zone `Asia/Shangai`", "did you mean `Asia/Shanghai`?"
    },
    {"timezone: asia/shanghai", 1, 11, "no time zone", "did you mean `Asia/Shanghai`?"},
    {"timezone: Shanghai", 1, 11, "no time zone", "did you mean `Asia/Shanghai`?"},
    {"timezone: new york", 1, 11, "no time zone", "did you mean `America/New_York`?"},
    {"timezone: \"+08:00\"", 1, 11, "no time zone `+08:00`", "Europe/Berlin or UTC"},
    {"timezone: \"\"", 1, 11, "no time zone ``", "Europe/Berlin or UTC"},
    {"timezone: [UTC]", 1, 11, "found a list"},

    // caps, wherever they stand
    {"caps: {}", 1, 7, "expected a list of caps, found a map"},
    {"caps: [{allow: 1/year}]", 1, 16, "at most a month"},
    {"teams: [a]", 1, 8, "expected a map of teams, found a list"},
    {"teams: {t: {cap: []}}", 1, 13, "unknown key `cap` in the team `t`", "`caps`"},
    {"teams: {t: {caps: [{allow: 5}]}}", 1, 28, "`allow`: expected an amount per time"},
    {"keys: [{name: a, plan: p, secret: 0123456789abcdef, caps: [{}]}]\nplans: {p: {}}",
     1,
     60,
     "has no `allow`"},
    {"caps: [{allow: 1/1d, mod: warn}]", 1, 22, "unknown key `mod` in a cap", "`mode`?"},
    {"caps: [{allow: 1/1d, mode: wanr}]", 1, 28, "one of `enforce`, `warn`", "`warn`"},
    {"caps: [{allow: 1/1d, queue: 3s}]", 1, 29, "`queue` is for caps such as `4 at once`"},
    {"caps: [{allow: 4 at once, queue: 3}]", 1, 34, "`queue`: expected a duration", "unit"},
    {"caps: [{allow: 4 at once, queue: 2h}]", 1, 34, "`queue` is from 1 s to 1 h"},
    {"caps: [{allow: unlimited, then: x}]", 1, 33, "`unlimited` is not used up"},
    {"caps: [{allow: 1/1d, endpoints: []}]", 1, 33, "nothing matches", "leave it out"},
    {"caps: [{allow: 1/1d, endpoints: {}}]", 1, 33, "`endpoints`: expected an endpoint"},
    {"caps: [{allow: 1/1d, endpoints: \"/v1/\"}]", 1, 33, "`endpoints`: expected an endpoint"},
    {"caps: [{allow: 1/1d, endpoints: \"images/*, audio/*\"}]",
     1,
     33,
     "`endpoints`: expected an endpoint",
     "as a list"},
    {"caps: [{allow: 1/1d, endpoints: [embeddings, chat/completion]}]",
     1,
     46,
     "there is no endpoint `chat/completion`",
     "did you mean `chat/completions`?"},
    {"caps: [{allow: 1/1d, endpoints: images}]", 1, 33, "no endpoint `images`", "write `images/*`"},
    {"caps: [{allow: 4 at once}, {allow: 9 at once}]",
     1,
     28,
     "the one on line 1: messages at once for the same `models`"},
    {"caps: [{allow: 4/1h fixed}, {allow: 3/60m fixed}]", 1, 29, "messages in 1 h fixed for"},
    {"caps: [{allow: 1 usd/month}, {allow: 2 usd/month}]", 1, 30, "usd in the month (UTC) for"},
    {"caps: [{allow: unlimited}, {allow: unlimited}]", 1, 28, "no limit for the same `models`"},
    {"caps:\n- {allow: 1/1d, endpoints: [/v1/embeddings, \"a*\"]}\n- {allow: 2/1d, endpoints: "
     "[\"A*\", embeddings]}",
     3,
     3,
     "the one on line 2: messages in 1 day for the same `models` and `endpoints`"},

    // then
    {"caps: [{models: a, allow: 1/1d, then: \"b*\"}]", 1, 39, "`b*` is a pattern; `then` is for one"
    },
    {"caps: [{models: \"gpt-4*\", allow: 1/1d, then: gpt-4o}]",
     1,
     46,
     "`then`: `gpt-4o` is covered by the `models` of this cap, and used up with it",
     "narrow"},
    {"caps: [{allow: 4 at once, then: b}]", 1, 33, "is covered by the `models` of this cap"},
    {"models: {cheap: {serve_as: gpt-4o}}\ncaps: [{models: gpt-4o, allow: 1/1d, then: cheap}]",
     2,
     44,
     "`cheap` is covered by the `models` of this cap"},
    {"upstreams: [{name: u, url: \"http://h\", models: [\"gpt-*\"]}]\n"
     "caps: [{models: gpt-4, allow: 1/1d, then: o1}]",
     2,
     43,
     "`then`: no upstream serves `o1`",
     "`models` of an upstream"},
    {"plans: {p: {deny: [\"b*\"], caps: [{models: a, allow: 1/1d, then: b}]}}",
     1,
     65,
     "`then`: the plan `p` does not allow `b`",
     "`deny`"},
    {"plans: {p: {models: a, caps: [{models: a, allow: 1/1d, then: b}]}}",
     1,
     62,
     "`then`: the plan `p` does not allow `b`",
     "add it to the plan's `models`"},
    {"models: {x: {serve_as: b}}\nplans: {p: {deny: b, caps: [{models: a, allow: 1/1d, then: x}]}}",
     2,
     60,
     "`then`: the plan `p` does not allow `x`"},
    {"plans: {p: {deny: b}}\nkeys: [{name: k, plan: p, secret: 0123456789abcdef, caps: [{models: "
     "a, "
     "allow: 1/1d, then: b}]}]",
     2,
     91,
     "`then`: the plan `p` does not allow `b`"},
    {"plans: {p: {deny: b}, q: {models: c}}\ncaps: [{models: a, allow: 1/1d, then: b}]",
     2,
     39,
     "`then`: no plan allows `b`"},
    {"plans:\n  p:\n    caps:\n    - {models: a, allow: 1/1d, then: b}\n    - {models: \"b*\", "
     "allow: "
     "1/1d, then: a}",
     5,
     41,
     "`then` leads in a circle",
     "`a` -> `b` -> `a`"},

    // inputs and bounds of a plan
    {"plans: {p: {inputs: text}}", 1, 21, "found a single value", "write [text]"},
    {"plans: {p: {inputs: [image]}}", 1, 21, "`inputs` lacks `text`"},
    {"plans: {p: {inputs: []}}", 1, 21, "`inputs` lacks `text`"},
    {"plans: {p: {inputs: [text, images]}}", 1, 28, "found `images`", "did you mean `image`?"},
    {"plans: {p: {max_input: 0}}", 1, 24, "`max_input` is from 1 B to 4 GiB"},
    {"plans: {p: {max_output: 10000001}}", 1, 25, "from 1 to 10000000"},
    {"cache: {hits: yes}", 1, 15, "one of `free`, `counted`, found `yes`"},

    // Variables.
    {"data: ${A", 1, 7, "a `${` without its `}`"},
    {"data: ${}", 1, 7, "does not name a variable", "${NAME}"},
    {"data: ${1A}", 1, 7, "does not name a variable"},
    {"data: ${A-b}", 1, 7, "does not name a variable", "with a colon"},
    {"data: \"${A:-${B}}\"", 1, 7, "inside of another one"},
    {"data: ${file:/none}", 1, 7, "the file `/none` cannot be read"},
    {"data: \"${file:}\"", 1, 7, "names no file"},

    // What later versions will know.
    {"waitlist: {open: true}", 1, 1, "`waitlist` is not yet supported"},
    {"store: redis://r", 1, 8, "not yet supported", "sqlite"},
    {"admin: {listen: \"127.0.0.1:9\"}", 1, 17, "not yet supported", "`same`"},
    {"limits: {upload: 1MiB}", 1, 10, "`limits.upload` is not yet supported"},
    {"listen: /run/weir.sock", 1, 9, "not yet supported"},
    {"listen: [{socket: /run/weir.sock}]", 1, 11, "`listen.socket` is not yet supported"},
    {"listen: [{address: \"1.1.1.1:1\", tls: {}}]", 1, 33, "`listen.tls` is not yet supported"},
    {"upstreams: [{name: a, use: deepseek}]", 1, 23, "`use` is not yet supported", "`url`"},
    {"upstreams: [{name: a, url: \"http://h\", weight: 1}]", 1, 40, "`weight` is not yet supported"
    },
    {"upstreams: [{name: a, url: \"http://h\", at_once: 1}]",
     1,
     40,
     "`at_once` is not yet supported"},
    {"upstreams: [{name: a, url: \"http://h\", kind: azure}]", 1, 40, "`kind` is not yet supported"
    },
    {"upstreams: [{name: a, url: \"http://h\", key: [a, b]}]",
     1,
     45,
     "list of keys is not yet supported"},
    {"models: {a: {inputs: []}}", 1, 14, "`inputs` is not yet supported"},
    {"plans: {p: {endpoints: [files]}}", 1, 13, "`endpoints` is not yet supported"},
    {"keys: [{name: a, plan: p, expires: x, secret: 0123456789abcdef}]\nplans: {p: {}}",
     1,
     27,
     "`expires` is not yet supported"},
    {"cache: {when: asked}", 1, 15, "`cache.when: asked` is not yet supported", "`always`"},
    {"cache: {when: never}", 1, 15, "`cache.when: never` is not yet", "`cache: {enabled: false}`"},
    {"usage: {}", 1, 1, "`usage` is not yet supported"},
};

TEST(Faults, EachHasItsPlaceItsWordsAndItsHint) {
    static_assert(std::size(kBad) >= 60);
    const std::string whole = kCertificate;
    const Sources sources = sources_of(
        {},
        {{"/ca.pem", "# of the house\n" + whole + whole},
         {"/empty", ""},
         {"/cut", whole + whole.substr(0, 300)},
         {"/words", "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"},
         {"/begun", "-----BEGIN CERTIFICATE-----\n"}}
    );
    for (const Bad& bad : kBad) {
        std::string yaml(bad.yaml);
        const bool alone = yaml.find("upstreams") != std::string::npos || yaml.front() == '-' ||
                           yaml.front() == '#' || yaml.starts_with("just");
        if (!alone && bad.message.find("escape") == std::string_view::npos) {
            yaml += "\nupstreams: [{name: u, url: \"http://h\"}]\n";
        }
        const auto faults = faults_of(yaml, sources);
        ASSERT_EQ(faults.size(), 1U) << yaml << "\n" << all_texts(faults);
        const Fault& fault = faults.front();
        EXPECT_EQ(fault.file, "t.yaml");
        EXPECT_EQ(fault.line, bad.line) << yaml << "\n" << fault.text();
        EXPECT_EQ(fault.column, bad.column) << yaml << "\n" << fault.text();
        EXPECT_THAT(fault.message, HasSubstr(std::string(bad.message))) << yaml;
        EXPECT_THAT(fault.hint, HasSubstr(std::string(bad.hint))) << yaml;
        EXPECT_EQ(fault.text().find('\n'), std::string::npos);
    }
}

TEST(Faults, AllAreToldAtOnceInTheOrderOfTheFile) {
    const auto faults = faults_of(R"(workers: none
lisen: x
teams: []
workers: 3
upstreams:
  - name: a
    url: nowhere
    key: "${GONE}"
    timeouts: {connect: 5, totl: 1s}
  - {name: a, url: "http://h"}
keys:
  - {name: alice, plan: nobody, secret: short}
models: {a: {serve_as: b}, b: {serve_as: a}}
cache: {ttl: soon}
)");
    std::vector<std::pair<int, int>> places;
    for (const Fault& fault : faults) places.emplace_back(fault.line, fault.column);
    const std::vector<std::pair<int, int>> expected = {
        {1, 10},
        {2, 1},
        {3, 8},
        {4, 1},
        {7, 10},
        {8, 10},
        {9, 25},
        {9, 28},
        {10, 12},
        {12, 25},
        {12, 41},
        {13, 24},
        {13, 42},
        {14, 14},
    };
    EXPECT_EQ(places, expected) << all_texts(faults);
}

TEST(Faults, OneMistakeIsOneFault) {
    for (const std::string_view yaml : {
             "upstreams: [{name: a, url: \"http://h\"}]\n"
             "plans: {p: {caps: [{models: [a, b], allow: 1/day}, {allow: 2/day}]}}",
             "upstreams: [{name: a, url: \"http://h\"}]\n"
             "plans: {p: {caps: [{models: \"a, b\", allow: 1/day}, {models: \"*\", allow: "
             "2/day}]}}",
             "upstreams: [{name: a, url: \"http://h\"}]\nlimits: {body: 600MiB, bodies: 2GB2}",
             "upstreams: [{name: a, url: \"http://h\"}]\nlimits: {body: 600miles, bodies: 1MiB}",
             "upstreams: [{name: a, url: \"http://h\"}]\ncache: {max_size: 1MiB, max_entry: 2x}",
         }) {
        const auto faults = faults_of(yaml);
        EXPECT_EQ(faults.size(), 1U) << all_texts(faults);
    }
}

TEST(Faults, CirclesOfAliasesAreToldWithTheirWay) {
    const auto faults = faults_of(
        "models:\n  a: {serve_as: b}\n  b: {serve_as: c}\n  c: {serve_as: b}\n"
        "upstreams: [{name: u, url: \"http://h\"}]"
    );
    ASSERT_EQ(faults.size(), 3U) << all_texts(faults);
    EXPECT_EQ(faults[0].hint, "`a -> b -> c -> b`");
    EXPECT_EQ(faults[1].line, 3);
    std::string chain = "models:\n";
    for (int i = 0; i < 17; ++i) {
        chain += "  m" + std::to_string(i) + ": {serve_as: m" + std::to_string(i + 1) + "}\n";
    }
    EXPECT_THAT(
        all_texts(faults_of(chain + "upstreams: [{name: u, url: \"http://h\"}]")),
        HasSubstr("aliases in a row")
    );
}

TEST(Faults, AreBoundedInNumberAndToldOnceThroughAliases) {
    std::string many = "upstreams:\n";
    for (int i = 0; i < 500; ++i) many += "  - {x: 1}\n";
    const auto faults = faults_of(many);
    ASSERT_EQ(faults.size(), 101U);
    EXPECT_EQ(faults[0].line, 2);
    EXPECT_EQ(faults.back().message, "and 1400 more faults");

    const auto once = faults_of(
        "plans:\n  a: {caps: &c [{allow: x}]}\n  b: {caps: *c}\nupstreams: [{name: u, url: "
        "\"http://h\"}]"
    );
    EXPECT_EQ(once.size(), 1U) << all_texts(once);
}

}  // namespace
}  // namespace weir::config::testing
