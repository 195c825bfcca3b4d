-- KEYS: head, generations. ARGV: tags, each followed by a generation for it if it has none.
if redis.call('HEXISTS', KEYS[1], 'number') == 0 then return 0 end
for place = 1, #ARGV, 2 do
    redis.call('HSETNX', KEYS[2], ARGV[place], ARGV[place + 1])
end
redis.call('HSET', KEYS[1], 'generations', redis.call('HLEN', KEYS[2]))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
