// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Qemu.Tests.Guard;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Sessions;

/// <summary>A guest's image that is mounted in Fleece, written and backed up there, between two nights of backups over QMP.</summary>
public sealed class MountedBetweenNightsTests
{
    public static TheoryData<string> Programs => NightGuest.Programs;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task The_next_night_over_qmp_has_the_writes_of_the_mount_and_builds_on_the_last_one(string program)
    {
        var seeds = Seeds.FromEnvironment();
        await using NightGuest guest = await NightGuest.StartAsync(program);
        await using QemuGuests guests = new(new QemuGuestsOptions { Guard = () => GuardedChild.Program });
        IFleeceableSet set = await guests.FindFleeceablesAsync(
            guest.SocketPath, [NightGuest.Device], TestContext.Current.CancellationToken);
        NightBackup backup = new(set.Disks[0]);
        await guest.WriteSomeAsync(seeds, 5);
        await RunNightAsync(guest, backup);
        await guest.QuitAsync();

        await using (Disk mounted = await Disk.OpenAsync(guest.ImagePath, options: new() { Format = Images.ImageFormat.Qcow2 }))
        {
            await mounted.Bitmaps.CreateAsync(NightBackup.BitmapName);
            IFleeceSession session =
                await ((IFleeceable)mounted).BeginSessionAsync(new SessionOptions { Bitmap = NightBackup.BitmapName }, default);
            byte[] bytes = seeds.Bytes(256 * 1024);
            await mounted.Device.WriteAsync(512 * 1024, bytes);
            bytes.CopyTo(guest.Model, 512 * 1024);
            Assert.True(await session.EndAsync(isSuccess: true));
        }

        await guest.BootAsync();
        Assert.Equal(2, (await guest.FindBitmapsAsync()).Length);
        for (int night = 0; night < 2; night++)
        {
            await guest.WriteSomeAsync(seeds, 3);
            await RunNightAsync(guest, backup);
        }

        Assert.Equal(2, backup.IncrementCount);
        Assert.Equal(
            [NightBackup.BitmapName, $"{NightBackup.BitmapName}@{backup.LastId:N}"],
            (await guest.FindBitmapsAsync()).Order(StringComparer.Ordinal));
    }

    private static async Task RunNightAsync(NightGuest guest, NightBackup backup)
    {
        IFleeceSession session = await backup.BeginAsync();
        byte[] bytes = await backup.ReadAsync(session, discards: true, () => Task.CompletedTask);
        Assert.Equal(guest.Model, bytes);
        Assert.True(await session.EndAsync(isSuccess: true));
        backup.Keep(session, bytes);
    }
}
