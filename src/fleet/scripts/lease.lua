-- KEYS: bucket. ARGV: burst, nanoseconds until it gets one more token, tokens that are asked for, milliseconds until an
-- unused bucket is full and may be forgotten.
-- A bucket is the tokens that it had, and when, in microseconds on the engine's clock. A clock that goes back adds no
-- token, and is followed: waiting until it is where it was would refuse everything for as long.
-- Anything that is not a bucket counts as a full one. Returns the tokens that are given, and those that are left.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local burst = tonumber(ARGV[1])
local tokens = burst
local had, at = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+)$')
had, at = tonumber(had or ''), tonumber(at or '')
if had and at and had >= 0 and had <= burst then
    tokens = math.min(burst, had + math.max(0, now - at) * 1000 / tonumber(ARGV[2]))
end
local given = math.min(math.floor(tokens), tonumber(ARGV[3]))
tokens = tokens - given
redis.call('SET', KEYS[1], string.format('%.17g %.0f', tokens, now), 'PX', ARGV[4])
return {given, string.format('%.6f', tokens)}
