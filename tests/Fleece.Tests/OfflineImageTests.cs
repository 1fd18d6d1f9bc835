// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Offline;
using Fleece.Images;
using Fleece.Images.Checking;

namespace Fleece.Tests;

/// <summary>Images that nobody has mounted: comparing, converting, examining.</summary>
public sealed class OfflineImageTests
{
    private const string A =
        """
        $random = [Random]::new(7)
        $data = [byte[]]::new(3MB)
        $random.NextBytes($data)
        [Array]::Clear($data, 1MB, 1MB)
        [IO.File]::WriteAllBytes("$folder/a.raw", $data)

        """;

    public static TheoryData<string> Formats => new(["raw", "qcow2", "vhd", "vhdx"]);

    [Theory]
    [MemberData(nameof(Formats))]
    public void An_image_is_converted_there_and_back_without_losing_a_byte(string extension)
    {
        using ModuleRunspace shell = new();

        object[] equal = shell.Run(A +
            $$"""
            $there = Convert-FleeceImage ./a.raw -DestinationPath ./b.{{extension}} -Force
            $null = $there | Convert-FleeceImage -DestinationPath ./c.raw
            (Compare-FleeceImage ./a.raw ./c.raw).AreEqual
            (Compare-FleeceImage ./a.raw ./b.{{extension}}).AreEqual
            """);

        Assert.Equal([true, true], equal);
        Assert.Equal(File.ReadAllBytes(shell.File("a.raw")), File.ReadAllBytes(shell.File("c.raw"))[..(3 << 20)]);
    }

    [Fact]
    public void Zeros_of_the_source_are_not_stored_even_where_it_stores_them()
    {
        using ModuleRunspace shell = new();

        ImageInfo converted = shell.Run<ImageInfo>(A + "Convert-FleeceImage ./a.raw -DestinationPath ./b.qcow2");

        Assert.InRange(converted.FileSizeBytes, 2 << 20, (2 << 20) + (512 << 10));
    }

    [Fact]
    public void A_comparison_tells_the_first_range_that_differs_and_its_end()
    {
        using ModuleRunspace shell = new();

        ImageComparison found = shell.Run<ImageComparison>(A +
            """
            $data[1000000] = $data[1000000] -bxor 255
            $data[1000600] = $data[1000600] -bxor 255
            $data[2MB] = $data[2MB] -bxor 255
            [IO.File]::WriteAllBytes("$folder/b.raw", $data)
            Compare-FleeceImage ./a.raw ./b.raw
            """);

        Assert.False(found.AreEqual);
        Assert.Equal(1000000, found.OffsetBytes);
        Assert.Equal(1000960 - 1000000, found.LengthBytes);
    }

    [Theory]
    [InlineData(0, true, null)]
    [InlineData(9, false, (4 << 20) - 1)]
    public void What_a_longer_disk_has_behind_the_shorter_ones_end_must_be_zero(byte last, bool areEqual, int? offsetBytes)
    {
        using ModuleRunspace shell = new();

        ImageComparison found = shell.Run<ImageComparison>(A +
            $$"""
            $longer = [byte[]]::new(4MB)
            $data.CopyTo($longer, 0)
            $longer[4MB - 1] = {{last}}
            [IO.File]::WriteAllBytes("$folder/b.raw", $longer)
            Compare-FleeceImage ./a.raw ./b.raw
            """);

        Assert.Equal(areEqual, found.AreEqual);
        Assert.Equal(offsetBytes, found.OffsetBytes);
        Assert.Equal(3 << 20, found.SizeBytes);
        Assert.Equal(4 << 20, found.DifferenceSizeBytes);
    }

    [Theory]
    [InlineData("Convert-FleeceImage ./missing.raw -DestinationPath ./b.qcow2", "ImageNotFound")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./there.qcow2", "ImageAlreadyExists")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./no/folder/b.qcow2", "ImageNotFound")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./a.raw -Force", "ImageInUse")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./b.qcow2 -SourceFormat Qcow2", "ImageWrongFormat")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./b.vmdk", "ImageUnsupported")]
    [InlineData("Convert-FleeceImage ./a.raw -DestinationPath ./b.raw -BlockSizeBytes 4096", "ArgumentInvalid")]
    public void A_conversion_that_can_not_be_done_is_refused_and_leaves_no_file(string script, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(A + "$null = New-FleeceImage ./there.qcow2 1MB");
        string[] before = Directory.GetFiles(shell.Folder.Path);

        ErrorRecord error = shell.Reports(script);

        Assert.Equal($"{errorId},Fleece.ConvertFleeceImageCommand", error.FullyQualifiedErrorId);
        Assert.Equal(before.Order(), Directory.GetFiles(shell.Folder.Path).Order());
    }

    [Fact]
    public void A_live_disk_is_neither_compared_nor_converted()
    {
        using ModuleRunspace shell = new();
        shell.Run(A + "$null = Mount-FleeceDisk ./a.raw");

        Assert.StartsWith(
            "ImageInUse,", shell.Reports("Convert-FleeceImage ./a.raw -DestinationPath ./b.qcow2").FullyQualifiedErrorId, StringComparison.Ordinal);
        Assert.StartsWith(
            "ImageInUse,", shell.Reports("Compare-FleeceImage ./a.raw ./a.raw").FullyQualifiedErrorId, StringComparison.Ordinal);
    }

    [Fact]
    public void The_snapshot_of_a_live_disk_is_compared_through_its_address()
    {
        using ModuleRunspace shell = new();

        object[] equal = shell.Run(A +
            """
            $null = Convert-FleeceImage ./a.raw -DestinationPath ./b.qcow2
            $null = Mount-FleeceDisk ./a.raw -Name vm -ListenUri 'nbd+unix:///?socket=./vm.sock'
            $null = Start-FleeceSession vm -Name s
            Write-FleeceDisk vm 0 ([byte[]] (1, 2, 3))
            (Compare-FleeceImage 'nbd+unix:///vm/s?socket=./vm.sock' ./b.qcow2).AreEqual
            (Compare-FleeceImage 'nbd+unix:///vm?socket=./vm.sock' ./b.qcow2).AreEqual
            """);

        Assert.Equal([true, false], equal);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_new_image_is_clean(string extension)
    {
        using ModuleRunspace shell = new();

        ImageReport report = shell.Run<ImageReport>($"$null = New-FleeceImage ./a.{extension} 8MB; Test-FleeceImage ./a.{extension}");

        Assert.True(report.IsClean);
        Assert.Empty(report.Findings);
    }

    [Fact]
    public void A_repair_that_is_only_asked_about_changes_nothing()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./a.qcow2 8MB");

        // Cluster 10 is counted in the refcount block, which is cluster 2, and nothing uses it.
        byte[] damaged = File.ReadAllBytes(shell.File("a.qcow2"));
        Array.Resize(ref damaged, 11 << 16);
        damaged[(2 << 16) + 21] = 1;
        File.WriteAllBytes(shell.File("a.qcow2"), damaged);

        object[] reports = shell.Run("Test-FleeceImage ./a.qcow2 -Repair All -WhatIf; Test-FleeceImage ./a.qcow2");

        Assert.All(reports.Cast<ImageReport>(), report => Assert.False(report.IsClean));
        Assert.Equal(damaged, File.ReadAllBytes(shell.File("a.qcow2")));
    }

    [Theory]
    [InlineData("vhd")]
    [InlineData("vhdx")]
    [InlineData("qcow2")]
    public void A_child_reads_as_its_parent_until_it_is_written(string extension)
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(A +
            $$"""
            $null = Convert-FleeceImage ./a.raw -DestinationPath ./base.{{extension}}
            $child = New-FleeceImage ./child.{{extension}} -ParentPath ./base.{{extension}}
            (Compare-FleeceImage ./child.{{extension}} ./a.raw).AreEqual
            $child.ParentPath -eq "$folder/base.{{extension}}"
            $null = Mount-FleeceDisk ./child.{{extension}} -Name child
            Write-FleeceDisk child 1000 ([byte[]] (1, 2, 3))
            Dismount-FleeceDisk child
            $null = Convert-FleeceImage ./child.{{extension}} -DestinationPath ./whole.raw
            (Compare-FleeceImage ./base.{{extension}} ./a.raw).AreEqual
            (Test-FleeceImage ./child.{{extension}}).IsClean
            """);

        Assert.Equal([true, true, true, true], output);
        byte[] expected = File.ReadAllBytes(shell.File("a.raw"));
        new byte[] { 1, 2, 3 }.CopyTo(expected, 1000);
        Assert.Equal(expected, File.ReadAllBytes(shell.File("whole.raw"))[..expected.Length]);
    }

    [Theory]
    [InlineData("Zlib")]
    [InlineData("Zstd")]
    public void A_compressed_image_is_smaller_and_holds_the_same(string compression)
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(
            $$"""
            $data = [byte[]]::new(4MB)
            for ($i = 0; $i -lt 4MB; $i += 512) { $data[$i] = 1 + ($i / 512) % 250 }
            [IO.File]::WriteAllBytes("$folder/a.raw", $data)
            $image = Convert-FleeceImage ./a.raw -DestinationPath ./b.qcow2 -Compression {{compression}}
            (Compare-FleeceImage ./a.raw ./b.qcow2).AreEqual
            (Test-FleeceImage ./b.qcow2).IsClean
            (Test-FleeceImage ./b.qcow2).CompressedBlockCount
            $image.FileSizeBytes -lt 1MB
            """);

        Assert.Equal([true, true, 64L, true], output);
    }
}
