// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Qemu.Tests.Guard;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Sessions;

/// <summary>Ten nights of backups of a disk that a guest writes, with all that can happen to its QEMU: each backup has the bytes of its
/// instant.</summary>
public sealed class TenNightsTests
{
    public static MatrixTheoryData<string, string> Disks => new(["qemu-system-x86_64", "$QEMU10_SYSTEM"], ["qcow2", "raw"]);

    [Theory]
    [MemberData(nameof(Disks))]
    public async Task Each_night_the_backup_has_the_bytes_of_its_instant(string program, string format)
    {
        var seeds = Seeds.FromEnvironment();
        await using NightGuest guest = await NightGuest.StartAsync(program, format);
        await using QemuGuests guests = new(new QemuGuestsOptions { Guard = () => GuardedChild.Program });
        IFleeceableSet set = await guests.FindFleeceablesAsync(
            guest.SocketPath, [NightGuest.Device], TestContext.Current.CancellationToken);
        NightBackup backup = new(set.Disks[0]);
        for (int night = 0; night < 10; night++)
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"night {night}");
            await guest.WriteSomeAsync(seeds, 1 + seeds.Next(6));
            await MaybeRestartAsync(guest, seeds, night);
            await guest.WriteSomeAsync(seeds, seeds.Next(4));
            await RunNightAsync(guest, backup, seeds, night);
            Assert.Empty(guests.Sessions);
        }

        Assert.True(backup.IncrementCount > 0, "some night was an increment");
        Assert.Empty(await guest.FindOwnAsync());
        await guest.QuitAsync();
        Assert.Equal(guest.Model, await guest.ReadImageAsync());
    }

    private static async Task RunNightAsync(NightGuest guest, NightBackup backup, Seeds seeds, int night)
    {
        IFleeceSession session = await backup.BeginAsync();
        byte[] expected = [.. guest.Model];
        byte[] bytes = await backup.ReadAsync(session, discards: seeds.Next(2) == 0, () => guest.WriteSomeAsync(seeds, seeds.Next(2)));
        Assert.Equal(expected, bytes);
        bool isSuccess = seeds.Next(4) != 0;

        // The third night QEMU ends under the session, the sixth it is killed, and the eighth it is started anew before the session ends.
        switch (night)
        {
            case 3:
                await guest.QuitAsync();
                break;
            case 6:
                await guest.KillAsync();
                break;
            case 8:
                await guest.QuitAsync();
                await guest.BootAsync();
                break;
        }

        bool counts = await session.EndAsync(isSuccess);

        Assert.False(counts && !isSuccess, "a bitmap never counts from a failure");
        Assert.True(counts || !isSuccess || night is 3 or 6 or 8, "it counts from a success while QEMU runs");
        if (isSuccess && counts)
        {
            backup.Keep(session, bytes);
        }

        if (night is 3 or 6)
        {
            await guest.BootAsync();
        }
    }

    private static async Task MaybeRestartAsync(NightGuest guest, Seeds seeds, int night)
    {
        switch (seeds.Next(5))
        {
            case 0 when night != 0:
                await guest.QuitAsync();
                await guest.BootAsync();
                break;
            case 1 when night > 4:
                await guest.KillAsync();
                await guest.BootAsync();
                break;
        }
    }
}
