# Read by stage 3 of runit as the last of shutdown.d: releases the boot medium.
livekit_verb=poweroff
if [ -x /run/runit/reboot ] || [ -x /etc/runit/reboot ]; then
	livekit_verb=reboot
fi
/usr/lib/livekit/enter-saved-ramfs "$livekit_verb"
