# Read by stage 3 of runit as the last of shutdown.d: releases the boot medium.
livekit_verb=poweroff
if [ -x /run/runit/reboot ] || [ -x /etc/runit/reboot ]; then
	livekit_verb=reboot
fi
[ ! -x /run/initramfs/shutdown ] || exec /run/initramfs/shutdown "$livekit_verb"
