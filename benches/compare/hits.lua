-- wrk script: asks for one of COUNT calls at random. wrk … -- TOKEN COUNT
local heads = {}

function init(arguments)
  local token, count = arguments[1], tonumber(arguments[2])
  math.randomseed(7)
  for number = 0, count - 1 do
    heads[number + 1] = "GET /v1/calls/call_" .. number .. " HTTP/1.1\r\nHost: gateway\r\n" ..
      "Authorization: Bearer " .. token .. "\r\n\r\n"
  end
end

function request()
  return heads[math.random(#heads)]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format("%d %d\n", summary.requests,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
