// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;

namespace Fleece.Tests;

/// <summary>Dirty bitmaps from the command line.</summary>
public sealed class BitmapTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw
        $null = New-FleeceBitmap vm daily
        Start-FleeceSession vm -Bitmap daily | Stop-FleeceSession -Success
        Write-FleeceDisk vm 64KB ([byte[]] 1)

        """;

    private const string Tonight = "$null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2";

    // The issue's own three lines, three nights in a row.
    [Fact]
    public void The_same_command_lines_work_every_night()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);
        for (int night = 1; night <= 3; night++)
        {
            shell.Run($"{Tonight}; Write-FleeceDisk vm {128 + 64 * night}KB ([byte[]] 1); Stop-FleeceSession vm -Success");

            BitmapInfo bitmap = shell.Run<BitmapInfo>("Get-FleeceBitmap vm -Ranges");
            Assert.Equal(("daily", 65536), (bitmap.Name, bitmap.DirtyBytes));
            Assert.Equal((128 + 64 * night) * 1024, Assert.Single(bitmap.Ranges!).OffsetBytes);
        }
    }

    [Fact]
    public void A_backup_of_a_limited_session_reads_the_bitmaps_ranges_alone()
    {
        using ModuleRunspace shell = new();
        object[] ranges = shell.Run(
            Vm + Tonight + "; Read-FleeceSnapshot | ForEach-Object { $_.OffsetBytes; $_.LengthBytes; $_.Dispose() }");

        // One chunk for what is data and one for the zeros behind it.
        long[] numbers = [.. ranges.Select(number => Convert.ToInt64(number, CultureInfo.InvariantCulture))];
        Assert.Equal([65536, 65536], [numbers[0], numbers.Where((_, index) => index % 2 == 1).Sum()]);
    }

    [Theory]
    [InlineData("New-FleeceBitmap vm DAILY", "BitmapNameInUse,Fleece.NewFleeceBitmapCommand")]
    [InlineData("New-FleeceBitmap vm 'a/b'", "ArgumentInvalid,Fleece.NewFleeceBitmapCommand")]
    [InlineData("New-FleeceBitmap vm x -GranularityBytes 1000", "ParameterArgumentValidationError,Fleece.NewFleeceBitmapCommand")]
    [InlineData("New-FleeceBitmap nobody x", "DiskNotFound,Fleece.NewFleeceBitmapCommand")]
    [InlineData("Get-FleeceBitmap vm nothing", "BitmapNotFound,Fleece.GetFleeceBitmapCommand")]
    [InlineData("Remove-FleeceBitmap vm nothing", "BitmapNotFound,Fleece.RemoveFleeceBitmapCommand")]
    [InlineData("Clear-FleeceBitmap nobody daily", "DiskNotFound,Fleece.ClearFleeceBitmapCommand")]
    [InlineData("Merge-FleeceBitmap vm daily nothing", "BitmapNotFound,Fleece.MergeFleeceBitmapCommand")]
    [InlineData(Tonight + "; Remove-FleeceBitmap vm daily", "BitmapBusy,Fleece.RemoveFleeceBitmapCommand")]
    [InlineData(Tonight + "; Disable-FleeceBitmap vm daily2", "BitmapBusy,Fleece.DisableFleeceBitmapCommand")]
    public void What_can_not_be_is_reported_and_changes_nothing(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        ErrorRecord error = shell.Reports(command);

        Assert.Equal(errorId, error.FullyQualifiedErrorId);
        Assert.Equal(65536, shell.Run<BitmapInfo>("Get-FleeceBitmap vm daily").DirtyBytes);
    }

    [Theory]
    [InlineData("Start-FleeceSession vm -Bitmap nothing", "BitmapNotFound")]
    [InlineData("Start-FleeceSession vm -Bitmap daily -NextBitmap daily", "BitmapNameInUse")]
    [InlineData("Start-FleeceSession vm -Bitmap daily -Range @{ OffsetBytes = 0; LengthBytes = 1 }", "ArgumentInvalid")]
    [InlineData("Start-FleeceSession vm -Bitmap daily -GranuleSizeBytes 1000", "ParameterArgumentValidationError")]
    [InlineData("Start-FleeceSession vm -NextBitmap 'a*'", "ArgumentInvalid")]
    public void A_session_that_can_not_have_its_bitmaps_is_refused_and_leaves_them_alone(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        ErrorRecord error = shell.Ends(command);

        Assert.Equal($"{errorId},Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
        BitmapInfo bitmap = shell.Run<BitmapInfo>("Get-FleeceBitmap");
        Assert.Equal(("daily", BitmapState.Recording, 65536), (bitmap.Name, bitmap.State, bitmap.DirtyBytes));
        Assert.Empty(shell.Run("Get-FleeceSession"));
        Assert.Empty(Directory.GetFiles(shell.Folder.Path, "*.fleece-temp"));
    }

    [Fact]
    public void An_untrusted_bitmap_is_said_to_be_so_refused_and_mended_by_clearing()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "Dismount-FleeceDisk vm");
        File.SetLastWriteTimeUtc(shell.File("vm.raw"), DateTime.UtcNow.AddMinutes(1));

        string warning = shell.Run<string>(
            "$null = Mount-FleeceDisk ./vm.raw -WarningVariable warned -WarningAction SilentlyContinue; \"$warned\"");
        BitmapInfo bitmap = shell.Run<BitmapInfo>("Get-FleeceBitmap");

        Assert.Contains("vm: The bitmap 'daily' can't be trusted.", warning, StringComparison.Ordinal);
        Assert.Equal(BitmapState.Untrusted, bitmap.State);
        Assert.Equal(
            "BitmapUntrusted,Fleece.StartFleeceSessionCommand", shell.Ends("Start-FleeceSession vm -Bitmap daily").FullyQualifiedErrorId);
        shell.Run("Get-FleeceBitmap | Clear-FleeceBitmap; $null = Start-FleeceSession vm -Bitmap daily");
        bitmap = shell.Run<BitmapInfo>("Get-FleeceBitmap");
        Assert.Equal((BitmapState.Frozen, null), (bitmap.State, bitmap.Reason));
    }

    [Fact]
    public void Bitmaps_are_piped_as_they_are_and_patterns_mean_all_that_fit()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = New-FleeceBitmap vm weekly; Get-FleeceBitmap vm *ly | Disable-FleeceBitmap -Force");
        Assert.All(shell.Run("Get-FleeceBitmap"), bitmap => Assert.Equal(BitmapState.Disabled, ((BitmapInfo)bitmap).State));

        shell.Run("Enable-FleeceBitmap vm w*; Remove-FleeceBitmap vm d*");

        Assert.Equal(BitmapState.Recording, shell.Run<BitmapInfo>("Get-FleeceBitmap").State);
    }

    [Fact]
    public void Names_of_bitmaps_are_completed()
    {
        using ModuleRunspace shell = new();

        object[] offered = shell.Run(Vm + """
            $null = New-FleeceBitmap vm 'two words'
            foreach ($line in 'Get-FleeceBitmap vm ', 'Clear-FleeceBitmap vm -Name d', 'Start-FleeceSession vm -Bitmap t') {
                (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText -join '|'
            }
            """);

        Assert.Equal(["daily|'two words'", "daily", "'two words'"], offered);
    }
}
