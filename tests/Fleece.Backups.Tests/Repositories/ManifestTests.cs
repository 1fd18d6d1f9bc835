// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Manifests that strangers wrote, with a seal that fits: each is refused by its fault (rule R5).</summary>
public sealed class ManifestTests
{
    private const string Name = "\"disk\": \"vm\"";
    private const string Path = "vm-000001.json";

    private static readonly Lazy<Task<byte[]>> Valid = new(MakeAsync);

    [Theory]
    [InlineData("\"number\": 1", "\"number\": 7", "file")]
    [InlineData("\"number\": 1", "\"number\": 1e999", "number")]
    [InlineData("\"number\": 1", "\"number\": 1, \"number\": 1", "number")]
    [InlineData("vm-000001.qcow2", "../vm-000001.qcow2", "file")]
    [InlineData("vm-000001.qcow2", "/tmp/vm-000001.qcow2", "file")]
    [InlineData("vm-000001.qcow2", "vm-000001.qcow2\\n", "file")]
    [InlineData("vm-000001.qcow2", "vm-000001.qcow2\\u0000", "file")]
    [InlineData("vm-000001.qcow2", "a\\u0000/../vm-000001.qcow2", "file")]
    [InlineData("vm-000001.qcow2", "vm-000001.json", "file")]
    [InlineData("vm-000001.qcow2", "", "file")]
    [InlineData("\"fleeceManifest\": 2", "\"fleeceManifest\": 9", "fleeceManifest")]
    [InlineData("\"fleeceManifest\": 2", "\"fleeceManifest\": 1", "seal")]
    [InlineData("\"format\": \"Qcow2\"", "\"format\": \"Zip\"", "format")]
    [InlineData("\"format\": \"Qcow2\"", "\"format\": 1", "format")]
    [InlineData("\"state\": \"Kept\"", "\"state\": \"Merging\"", "state")]
    [InlineData("\"hasMerged\": false", "\"hasMerged\": 0", "hasMerged")]
    [InlineData("\"isShared\": false", "\"isShared\": \"yes\"", "isShared")]
    [InlineData("\"contentDigest\": \"", "\"contentDigest\": \"0", "contentDigest")]
    [InlineData("\"sizeBytes\": 13107200", "\"sizeBytes\": 9223372036854775808", "sizeBytes")]
    [InlineData("\"sizeBytes\": 13107200", "\"sizeBytes\": 13107200.5", "sizeBytes")]
    [InlineData("\"sizeBytes\": 13107200", "\"sizeBytes\": 4096", "content")]
    [InlineData("[0,", "[-1,", "content")]
    [InlineData("[0,", "[9223372036854775807,", "content")]
    [InlineData("[0,", "[1e999,", "content")]
    [InlineData("[0,", "[4194305,", "content")]
    [InlineData("[0,", "[0,1],[0,", "content")]
    [InlineData("[0,", "[[0],", "content")]
    [InlineData("[0,", "[0,0],[0,", "content")]
    [InlineData("[0,", "null,[0,", "content")]
    [InlineData(Name, "\"disk\": \"\\ud800\"", "Unicode")]
    [InlineData(Name, "\"\\ud800\": 1, \"disk\": \"vm\"", "Unicode")]
    [InlineData(Name, "\"disk\": \"v\u0000m\"", "JSON")]
    [InlineData(Name, "\"disk\": null", "disk")]
    [InlineData(Name, "\"disk\": \"vm\", \"x\": [[[[[[[[[[1]]]]]]]]]]", "JSON")]
    [InlineData(Name, "\"disk\": \"vm\", /* */ \"x\": 1", "JSON")]
    [InlineData("{", "", "JSON")]
    public async Task A_manifest_that_can_not_be_one_is_refused_by_its_fault(string text, string other, string named)
    {
        string manifest = Encoding.UTF8.GetString(await Valid.Value);
        int at = manifest.IndexOf(text, StringComparison.Ordinal);
        Assert.NotEqual(-1, at);
        string changed = string.Concat(manifest.AsSpan(0, at), other, manifest.AsSpan(at + text.Length));

        BlockException fault = Assert.Throws<BlockException>(
            () => ManifestFile.Parse(Path, ManifestText.Seal(Encoding.UTF8.GetBytes(changed))));

        Assert.Equal(BackupErrors.ManifestInvalid, fault.Kind);
        Assert.Contains(named, fault.Message, StringComparison.Ordinal);
        Assert.InRange(fault.Message.Length, 1, 1000);
    }

    [Fact]
    public async Task A_manifest_without_the_field_is_of_no_shared_disk()
    {
        string manifest = Encoding.UTF8.GetString(await Valid.Value);

        byte[] older = ManifestText.Seal(Encoding.UTF8.GetBytes(manifest.Replace("  \"isShared\": false,\n", string.Empty, StringComparison.Ordinal)));

        Assert.False(ManifestFile.Parse(Path, older).IsShared);
    }

    [Fact]
    public async Task A_backup_of_a_shared_disk_builds_on_no_other()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.BackUpAsync();
        ManifestText.EditAndSeal(ManifestText.PathOf(vm.Read().Points[1]), json => json["isShared"] = true);

        BlockException fault = Assert.Single(vm.Read().Faults);

        Assert.Equal(BackupErrors.ManifestInvalid, fault.Kind);
        Assert.Contains("isShared", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Invalid_UTF8_in_a_text_is_an_invalid_manifest(bool isSealed)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        string path = ManifestText.PathOf((await vm.BackUpAsync()).Point!);
        if (!isSealed)
        {
            ManifestText.Unseal(path);
        }

        byte[] bytes = await File.ReadAllBytesAsync(path);
        int at = bytes.AsSpan().IndexOf("\"vm\""u8) + 1;
        bytes[at] = 0xC3;
        bytes[at + 1] = 0x28;
        await File.WriteAllBytesAsync(path, isSealed ? ManifestText.Seal(bytes) : bytes);

        Assert.Equal(BackupErrors.ManifestInvalid, Assert.Single(vm.Read().Faults).Kind);
    }

    [Fact]
    public async Task A_file_larger_than_any_manifest_is_refused_unread_and_so_is_an_empty_one()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await using (FileStream large = File.Create(System.IO.Path.Combine(vm.RepositoryPath, "vm-000002.json")))
        {
            large.SetLength(ManifestFile.MaximumBytes + 1L);
        }

        await File.WriteAllBytesAsync(System.IO.Path.Combine(vm.RepositoryPath, "vm-000003.json"), []);
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();
        Repository repository = vm.Read();

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - beforeBytes, 0, 1 << 20);
        Assert.Equal([BackupErrors.ManifestInvalid, BackupErrors.ManifestInvalid], repository.Faults.Select(fault => fault.Kind));
        Assert.Single(repository.Faults, fault => fault.Message.Contains("it is empty", StringComparison.Ordinal));
        Assert.Single(repository.Points);
    }

    // A document tree of the list would take many times the file's length.
    [Fact]
    public async Task A_long_list_costs_little_more_than_its_extents()
    {
        const int Extents = 400_000;
        StringBuilder list = new();
        string digest = new('a', 64);
        for (int i = 0; i < Extents; i++)
        {
            list.Append(CultureInfo.InvariantCulture, $"    [{i},1,\"{digest}\"],\n");
        }

        byte[] bytes = await LongListAsync(list.ToString());
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();
        BlockException fault = Assert.Throws<BlockException>(() => ManifestFile.Parse(Path, bytes));

        Assert.Contains("content", fault.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - beforeBytes, 0, 150L * Extents);
    }

    [Fact]
    public async Task The_list_of_what_has_lost_its_seal_is_not_read()
    {
        byte[] bytes = await LongListAsync(string.Concat(Enumerable.Repeat("    [0,1],\n", 400_000)));
        int at = bytes.AsSpan().IndexOf("\"seal\""u8);
        bytes[at + 1] = (byte)'S';
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();

        BlockException fault = Assert.Throws<BlockException>(() => ManifestFile.Parse(Path, bytes));

        Assert.Contains("seal", fault.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - beforeBytes, 0, 1 << 20);
    }

    [Theory]
    [InlineData("", "it is empty")]
    [InlineData(" \n", "byte 1 of line 2")]
    [InlineData("{\n \"a\": 1,\n \"b\": x", "byte 7 of line 3")]
    public void What_is_no_JSON_is_told_by_its_place(string text, string told)
    {
        BlockException fault = Assert.Throws<BlockException>(() => ManifestFile.Parse(Path, Encoding.UTF8.GetBytes(text)));

        Assert.Contains(told, fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("LineNumber", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_text_or_a_number_of_fields_that_no_manifest_has_is_refused()
    {
        string manifest = Encoding.UTF8.GetString(await Valid.Value);
        string fields = string.Concat(Enumerable.Range(0, 100).Select(i => $"\"x{i}\": 1, "));
        foreach ((string text, string told) in ((string, string)[])
            [($"\"disk\": \"{new string('v', 70_000)}\"", "'disk'"), (fields + Name, "more than 64 fields")])
        {
            BlockException fault = Assert.Throws<BlockException>(() => ManifestFile.Parse(
                Path, ManifestText.Seal(Encoding.UTF8.GetBytes(manifest.Replace(Name, text, StringComparison.Ordinal)))));
            Assert.Contains(told, fault.Message, StringComparison.Ordinal);
        }
    }

    private static async Task<byte[]> LongListAsync(string lines)
    {
        string manifest = Encoding.UTF8.GetString(await Valid.Value);
        return ManifestText.Seal(Encoding.UTF8.GetBytes(
            manifest.Replace("\"content\": [\n", "\"content\": [\n" + lines, StringComparison.Ordinal)));
    }

    private static async Task<byte[]> MakeAsync()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        return await File.ReadAllBytesAsync(ManifestText.PathOf((await vm.BackUpAsync()).Point!));
    }
}
