// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Shell.Tests;

/// <summary>Goal: kill -9 of the nightly job at any instant costs no kept point. Method: a guest numbers its writes and makes them in an
/// order that everybody knows, so each instant of its disk is told by one number, and what a point restores to must be the disk of one
/// instant, of the time of its job, and the same after every later kill.</summary>
/// <remarks>FLEECE_NIGHTS is how often it is killed; without it a few times, for every day. FLEECE_SEED repeats the instants as far as the
/// machine does.</remarks>
public sealed class KilledNightTests
{
    private const int UnitBytes = 4096;
    private const int Units = 4096;
    private const int Stride = 7919; // A prime, so that the guest comes to all units in turn.
    private const int Keep = 2;
    private const int LongestRunMilliseconds = 1500;
    private const int FewKills = 1;

    private static readonly int Kills =
        int.TryParse(Environment.GetEnvironmentVariable("FLEECE_NIGHTS"), NumberStyles.None, CultureInfo.InvariantCulture, out int nights)
            ? nights
            : FewKills;

    private static readonly int Seed =
        int.TryParse(Environment.GetEnvironmentVariable("FLEECE_SEED"), NumberStyles.None, CultureInfo.InvariantCulture, out int seed)
            ? seed
            : Environment.TickCount;

    // The write by which each point's instant is known, by its number.
    private readonly Dictionary<int, long> _instants = [];

    [Theory]
    [InlineData("qcow2")]
    [InlineData("vhd")]
    [InlineData("vhdx")]
    public async Task Every_point_that_killed_nights_leave_is_the_disk_of_one_instant(string format)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells a killed process from a crashed system.");
        TestContext.Current.TestOutputHelper!.WriteLine($"seed {Seed}");
        var random = new Random(Seed);
        using var shell = new ShellProcess();
        SaveScripts(shell, format);
        using (FileStream disk = File.Create(Path.Combine(shell.Folder, "vm.raw")))
        {
            disk.SetLength(Units * UnitBytes);
        }

        for (int kill = 0; kill < Kills; kill++)
        {
            long first = LastWrite(shell) + 1;
            shell.Start("nights.ps1", first.ToString(CultureInfo.InvariantCulture));
            await shell.WaitForLine("writing");
            await Task.Delay(random.Next(LongestRunMilliseconds));
            await shell.Signal("KILL");
            await shell.End();
            Check(shell, await shell.Run("restore.ps1"), first);
        }

        long last = LastWrite(shell);
        Assert.True(last > 0, "The guest has written nothing.");
        Assert.InRange(Check(shell, await shell.Run("night.ps1"), last), 1, Keep);
        Assert.Equal(last, _instants[_instants.Keys.Max()]);
    }

    private static void SaveScripts(ShellProcess shell, string format)
    {
        shell.Save("nights.ps1", $$"""
            param([long] $first)
            $null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
            $guest = [powershell]::Create().AddScript({
                param([string] $module, [long] $number)
                Import-Module $module
                while ($true) {
                    Write-FleeceDisk vm (($number * {{Stride}} % {{Units}}) * {{UnitBytes}}) ([BitConverter]::GetBytes($number))
                    $number++
                }
            }).AddArgument((Get-Module Fleece).Path).AddArgument($first)
            $null = $guest.BeginInvoke()
            $null = Backup-FleeceDisk vm -RepositoryPath ./repository -Format {{format}} -Keep {{Keep}} -WarningAction Ignore
            'writing'
            while ($true) { $null = Backup-FleeceDisk vm -RepositoryPath ./repository -Format {{format}} -Keep {{Keep}} -WarningAction Ignore }
            """);
        const string Restore = """
            if ([IO.Directory]::Exists("$PWD/repository")) {
                Get-FleeceBackup ./repository | ForEach-Object {
                    $null = $_ | Restore-FleeceBackup -DestinationPath "./$($_.Number).restored" -Format Raw
                    $_.Number
                }
            }
            """;
        shell.Save("restore.ps1", Restore);
        shell.Save("night.ps1", $$"""
            $null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
            $null = Backup-FleeceDisk vm -RepositoryPath ./repository -Format {{format}} -Keep {{Keep}} -WarningAction Ignore
            Dismount-FleeceDisk vm
            {{Restore}}
            """);
    }

    // The number of points; those of the last job are of an instant behind the write that it began with.
    private int Check(ShellProcess shell, ShellResult restored, long first)
    {
        int[] points =
        [
            .. restored.Succeeded().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture)),
        ];
        long end = LastWrite(shell);
        TestContext.Current.TestOutputHelper!.WriteLine($"writes {first} to {end}, points {string.Join(' ', points)}");
        foreach (int point in points)
        {
            string path = Path.Combine(shell.Folder, $"{point}.restored");
            long instant = InstantOf(File.ReadAllBytes(path), $"the point {point}");
            File.Delete(path);
            if (!_instants.TryAdd(point, instant))
            {
                Assert.Equal(_instants[point], instant);
                continue;
            }

            Assert.InRange(instant, first - 1, end);
        }

        return points.Length;
    }

    private static long LastWrite(ShellProcess shell) =>
        InstantOf(File.ReadAllBytes(Path.Combine(shell.Folder, "vm.raw")), "the disk");

    // Each unit holds the number of the last write to it; the highest of all says what all others must hold.
    private static long InstantOf(byte[] disk, string what)
    {
        Assert.Equal(Units * UnitBytes, disk.Length);
        long[] numbers = [.. Enumerable.Range(0, Units).Select(unit => BitConverter.ToInt64(disk, unit * UnitBytes))];
        long instant = numbers.Max();
        for (long number = instant; number > Math.Max(0, instant - Units); number--)
        {
            long unit = number * Stride % Units;
            Assert.True(numbers[unit] == number, $"In {what} of the instant {instant} the unit {unit} holds {numbers[unit]}, not {number}.");
            numbers[unit] = 0;
        }

        Assert.All(numbers, number => Assert.Equal(0, number));
        return instant;
    }
}
