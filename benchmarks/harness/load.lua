-- What wrk sends, and for how long: see wrk.py, which passes the arguments.
--
-- Requests are made from the lines of a file, in turn. When the time is up, each connection that
-- is free gets an empty request, so it stays quiet; when all are, every request has been answered
-- and wrk is ended. So a server has never done more than what was acknowledged.

local ffi = require("ffi")
ffi.cdef [[
int getpid(void);
int kill(int process, int signal);
typedef struct { long seconds, nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC, INTERRUPT = 1, 2
local moment = ffi.new("moment")

local function now()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function init(arguments)
  method, before, after, authorization = arguments[1], arguments[2], arguments[3], arguments[4]
  lines, sent, quiet = {}, 0, 0
  for line in io.lines(arguments[5]) do lines[#lines + 1] = line end
  first, seconds, connections = tonumber(arguments[6]), tonumber(arguments[7]), tonumber(arguments[8])
  wanted = tonumber(arguments[9])
  headers = " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nAuthorization: "
    .. authorization .. "\r\n"
end

function request()
  if not verified then -- wrk looks at this one and does not send it
    verified = true
    return of_line(first)
  end
  started = started or now()
  ended = now()
  if ended - started >= seconds or sent == wanted then
    quiet = quiet + 1
    if quiet == connections then ffi.C.kill(ffi.C.getpid(), INTERRUPT) end
    return ""
  end
  sent = sent + 1
  return of_line(first + sent - 1)
end

function of_line(number)
  local line = lines[number % #lines + 1]
  if method == "GET" then
    return "GET " .. before .. line .. after .. headers .. "\r\n"
  end
  return "POST " .. before .. headers .. "Content-Type: application/json\r\nContent-Length: "
    .. #line .. "\r\n\r\n" .. line
end

function setup(thread)
  worker = thread
end

function done(summary, latency)
  local errors, took = summary.errors, worker:get("ended") - worker:get("started")
  io.write(string.format(
    '\n{"sent":%d,"quiet":%d,"answered":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50":%d,"p99":%d}\n',
    worker:get("sent"), worker:get("quiet"), summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, took,
    latency:percentile(50), latency:percentile(99)))
end
