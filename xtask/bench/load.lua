-- Sends one prepared HTTP request over and over, each time with another id, and prints what wrk measured as JSON.
-- The request is a file, written by `cargo xtask bench`, in which eight signs stand for the id.

local MARK = "@@@@@@@@"
local FIRST_ID = 10000000 -- as long as the mark, so that Content-Length stays true

-- Building a request costs a copy. From this length on that would be most of the load generator's time, so that
-- this many are built before and sent in turn: more than twice as many as are ever on their way at once.
local LONG = 8192
local READY = 512

local function counted(before, after)
  local id = FIRST_ID
  return function()
    id = id + 1
    return before .. id .. after
  end
end

local function in_turn(before, after)
  local ready, turn = {}, 0
  for place = 1, READY do
    ready[place] = before .. (FIRST_ID + place) .. after
  end
  return function()
    turn = turn % READY + 1
    return ready[turn]
  end
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local first, last = text:find(MARK, 1, true)
  local before, after = text:sub(1, first - 1), text:sub(last + 1)
  local build = #text < LONG and counted or in_turn
  request = build(before, after)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"bytes":%d,"p50":%d,"p99":%d,"p999":%d,"broken":%d,"refused":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status
  ))
end
