// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Shell.Tests;

/// <summary>Goal: a bitmap survives kill -9 at any instant. Method: a process that writes without rest is killed, and the next one
/// must find every unit marked whose content is new.</summary>
public sealed class KilledBitmapTests
{
    private const int UnitBytes = 4096;

    // FLEECE_KILLS asks for more.
    private static readonly int Rounds = int.Parse(
        Environment.GetEnvironmentVariable("FLEECE_KILLS") is { Length: > 0 } kills ? kills : "2", CultureInfo.InvariantCulture);

    [Theory]
    [InlineData("raw", "")]
    [InlineData("raw", "$null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2")]
    [InlineData("vhd", "")]
    [InlineData("vhdx", "")]
    [InlineData("qcow2", "")]
    [InlineData("qcow2", "$null = Start-FleeceSession vm -Bitmap daily")]
    public async Task Everything_that_a_killed_process_wrote_is_marked(string format, string before)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells a killed process from a crashed system.");
        using var shell = new ShellProcess();
        await shell.Run(shell.Save("make.ps1", $$"""
            $null = New-FleeceImage ./vm.{{format}} -SizeBytes 16MB
            $null = Mount-FleeceDisk ./vm.{{format}}
            if ('{{format}}' -ne 'vhdx') {
                # A new block of a VHDX is a change for its log.
                $old = [byte[]]::new(16MB)
                [Array]::Fill($old, [byte] 9)
                Write-FleeceDisk vm 0 $old
            }
            $null = New-FleeceBitmap vm daily -GranularityBytes 4KB
            Dismount-FleeceDisk vm
            """));
        string image = Path.Combine(shell.Folder, $"vm.{format}");
        string write = shell.Save("write.ps1", $$"""
            $null = Mount-FleeceDisk ./vm.{{format}} -WarningAction Ignore
            {{before}}
            $data = [byte[]] (1, 2, 3)
            $random = [Random]::new()
            Write-FleeceDisk vm 0 $data -ForceUnitAccess
            'writing'
            while ($true) { Write-FleeceDisk vm ($random.Next(4096) * 4096) $data }
            """);
        for (int round = 0; round < Rounds; round++)
        {
            shell.Start(write);
            await shell.WaitForLine("writing");
            await shell.Signal("KILL");
            await shell.End();
            if (format == "vhdx" && round == 0)
            {
                ShellResult log = await shell.Run(shell.Save("log.ps1", "(Get-FleeceImage ./vm.vhdx).IsDirty"));
                Assert.Equal("True", log.Succeeded().Trim());
            }

            Age(image);
            Age(image + ".fleece-bitmaps");
        }

        // Without a flush: what the process left, nothing else.
        string marked = (await shell.Run(shell.Save("look.ps1", $$"""
            $null = Mount-FleeceDisk ./vm.{{format}} -ReadOnly -WarningAction Ignore
            $bitmap = Get-FleeceBitmap vm
            "$($bitmap.Name) $($bitmap.Reason)"
            $bitmap.GetDirtyRanges() | ForEach-Object { "$($_.OffsetBytes) $($_.LengthBytes)" }
            'written'
            $data = Read-FleeceDisk vm -OffsetBytes 0 -LengthBytes 16MB
            foreach ($unit in 0..4095) { if ($data[$unit * 4096] -eq 1) { $unit } }
            """))).Succeeded();

        string[] lines = marked.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        int split = Array.IndexOf(lines, "written");
        Assert.Equal("daily ", lines[0]);
        HashSet<long> units = [.. lines[1..split].SelectMany(UnitsOf)];
        long[] written = [.. lines[(split + 1)..].Select(line => long.Parse(line, CultureInfo.InvariantCulture))];
        Assert.NotEmpty(written);
        Assert.All(written, unit => Assert.Contains(unit, units));
    }

    // The next mount comes a minute later.
    private static void Age(string path) => File.SetLastWriteTimeUtc(path, File.GetLastWriteTimeUtc(path).AddMinutes(-1));

    private static IEnumerable<long> UnitsOf(string line)
    {
        string[] words = line.Split(' ');
        long first = long.Parse(words[0], CultureInfo.InvariantCulture) / UnitBytes;
        return Enumerable.Range(0, (int)(long.Parse(words[1], CultureInfo.InvariantCulture) / UnitBytes)).Select(i => first + i);
    }
}
