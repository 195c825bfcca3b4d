-- KEYS: entry, claim. ARGV: entry, milliseconds until it expires, holder of the claim or ''.
-- An entry has its mark in bytes 17 to 40: the epoch's number and random part, and the record, each of 8 bytes.
-- Returns 1, or 0 if an entry with a newer mark was there. Strings are compared byte by byte, since the engine's
-- own comparison depends on its locale.
local function is_newer(one, other, from, to)
    for place = from, to do
        local a, b = string.byte(one, place) or 0, string.byte(other, place) or 0
        if a ~= b then return a > b end
    end
    return false
end
local there = redis.pcall('GETRANGE', KEYS[1], 0, 39)
if type(there) == 'table' then
    -- A value of another type, which no gateway has written, is replaced.
    if not string.find(there.err, 'WRONGTYPE', 1, true) then return there end
    there = ''
end
local keeps = false
if there ~= '' then
    local is_same_epoch = string.sub(there, 17, 32) == string.sub(ARGV[1], 17, 32)
    if is_same_epoch then
        keeps = is_newer(there, ARGV[1], 33, 40)
    else
        keeps = is_newer(there, ARGV[1], 17, 24)
    end
end
if not keeps then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) == ARGV[3] then
    redis.call('DEL', KEYS[2])
end
return keeps and 0 or 1
