// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Retaining;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>A manifest that is not the one that was written is not believed, whatever it lost.</summary>
public sealed class ManifestSealTests
{
    private const int U = Nightly.UnitBytes;

    public static MatrixTheoryData<int, string, string> Losses =>
        new([3, 4], ["content", "extent", "digest"], ["", "sealed again", "without a seal"]);

    [Theory]
    [MemberData(nameof(Losses))]
    public async Task What_lost_a_part_of_its_list_is_neither_restored_nor_good(int number, string lost, string then)
    {
        await using Nightly vm = await MakeAsync(nights: 4);
        BackupPoint newest = vm.Read().Points[^1];
        string path = ManifestText.PathOf(vm.Read().Points[number - 1]);
        Lose(path, lost, then);

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => vm.RestoreAsync(vm.Read().FindNewest(null)));
        Repository repository = RepositoryReader.ReadAny(vm.RepositoryPath, out _);
        List<string> told = [.. repository.Faults.Select(fault => fault.Message)];
        foreach (BackupPoint point in repository.Points)
        {
            told.AddRange((await Nightly.TestAsync(repository, point)).Findings.Select(finding => finding.Message));
        }

        // The image's name where its content told it, the manifest's otherwise.
        Assert.Contains($"vm-00000{number}.", error.Message, StringComparison.Ordinal);
        Assert.Contains(told, message => message.Contains($"vm-00000{number}.", StringComparison.Ordinal));
        await Assert.ThrowsAsync<BlockException>(() =>
            vm.RestoreAsync(RepositoryReader.ReadAny(newest.Path, out BackupPoint? named) is null ? newest : named!));
    }

    [Fact]
    public async Task A_manifest_with_any_byte_changed_is_refused()
    {
        await using Nightly vm = await MakeAsync(nights: 2);
        string path = ManifestText.PathOf(vm.Read().Points[1]);
        byte[] bytes = await File.ReadAllBytesAsync(path);
        _ = ManifestFile.Parse(path, bytes);

        for (int at = 0; at < bytes.Length; at++)
        {
            foreach (byte change in (byte[])[1, 3, 0x20, 0x80, 0xFF])
            {
                bytes[at] ^= change;
                BlockException error = Assert.Throws<BlockException>(() => ManifestFile.Parse(path, bytes));
                Assert.Equal(BackupErrors.ManifestInvalid, error.Kind);
                bytes[at] ^= change;
            }
        }
    }

    [Fact]
    public async Task A_manifest_that_is_cut_short_or_goes_on_is_refused()
    {
        await using Nightly vm = await MakeAsync(nights: 1);
        string path = ManifestText.PathOf(vm.Read().Points[0]);
        byte[] bytes = await File.ReadAllBytesAsync(path);

        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.Equal(
                BackupErrors.ManifestInvalid,
                Assert.Throws<BlockException>(() => ManifestFile.Parse(path, bytes.AsMemory(0, length))).Kind);
        }

        foreach (byte[] more in (byte[][])[[.. bytes, (byte)'\n'], [.. bytes, 0], [.. bytes, .. bytes], [0xEF, 0xBB, 0xBF, .. bytes]])
        {
            Assert.Equal(
                BackupErrors.ManifestInvalid, Assert.Throws<BlockException>(() => ManifestFile.Parse(path, more)).Kind);
        }
    }

    [Theory]
    [InlineData("head -n -2 vm-000002.json | sha256sum", "seal")]
    [InlineData(
        "jq -r '.id, .sizeBytes, (.parentContentDigest // \"-\"), (.content[] | tojson)' vm-000002.json | sha256sum", "contentDigest")]
    public async Task The_documented_commands_compute_what_stands_in_the_manifest(string command, string field)
    {
        await using Nightly vm = await MakeAsync(nights: 2);
        Assert.SkipUnless(Peer.Has("sh") && Peer.Has("sha256sum"), "There is no sha256sum.");
        Assert.SkipUnless(Peer.Has("jq") || !command.StartsWith("jq", StringComparison.Ordinal), "There is no jq.");
        JsonNode json = JsonNode.Parse(await File.ReadAllBytesAsync(ManifestText.PathOf(vm.Read().Points[1])))!;

        string output = await Peer.RunAsync("sh", "-c", $"cd '{vm.RepositoryPath}' && {command}");

        Assert.StartsWith(json[field]!.GetValue<string>(), output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Where_the_newest_can_not_be_read_an_older_one_is_no_substitute_and_has_a_name()
    {
        await using Nightly vm = await MakeAsync(nights: 3);
        BackupPoint[] points = [.. vm.Read().Points];
        ManifestText.Edit(ManifestText.PathOf(points[2]), json => json["disk"] = "other");

        BlockException error = await Nightly.RefusedAsync(
            BackupErrors.ManifestInvalid, () => Task.FromResult(vm.Read().FindNewest(null)));
        BackupPoint named = vm.Read().FindFile("vm-000002.qcow2");

        Assert.Contains("vm-000003.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("vm-000002.qcow2", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, vm.Read().FindNewest(points[1].Instant.AddTicks(-1)).Number);
        Assert.Equal(vm.Truth[named.Id], await vm.RestoreAsync(named));
    }

    [Fact]
    public async Task Nothing_is_built_on_a_manifest_that_can_not_be_read_and_nothing_is_merged()
    {
        await using Nightly vm = await MakeAsync(nights: 3);
        ManifestText.Edit(ManifestText.PathOf(vm.Read().Points[2]), json => json["bitmap"] = "other");
        string[] before = Directory.GetFiles(vm.RepositoryPath);

        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => vm.BackUpAsync());
        using (RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath))
        {
            BlockException kept = await Nightly.RefusedAsync(
                BackupErrors.ManifestInvalid, async () => await new Retention(folder).KeepAsync(1));
            Assert.Contains("vm-000003.json' out of the folder, and the image beside it too", kept.Message, StringComparison.Ordinal);
        }

        Assert.Contains("vm-000003.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("-Full", error.Message, StringComparison.Ordinal);
        Assert.Equal(before.Order(), Directory.GetFiles(vm.RepositoryPath).Order());
        Assert.Equal(4, (await vm.BackUpAsync(vm.Options() with { IsFull = true })).Point!.Number);
    }

    [Fact]
    public async Task Nothing_is_built_on_a_chain_with_a_manifest_that_can_not_be_read()
    {
        await using Nightly vm = await MakeAsync(nights: 3);
        ManifestText.Edit(ManifestText.PathOf(vm.Read().Points[1]), json => json["bitmap"] = "other");

        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.BackUpAsync());

        Assert.Contains("vm-000002.json", error.Message, StringComparison.Ordinal);
        Assert.Equal(3, Directory.GetFiles(vm.RepositoryPath, "*.json").Length);
    }

    internal static async Task<Nightly> MakeAsync(int nights, ImageFormat format = ImageFormat.Qcow2)
    {
        Nightly vm = await Nightly.MakeAsync(format);
        for (int night = 0; night < nights; night++)
        {
            await vm.WriteAsync(night * 9, 3);
            await vm.WriteAsync(120 + night);
            await vm.ZeroAsync(130 + night);
            await vm.BackUpAsync();
        }

        return vm;
    }

    private static void Lose(string path, string lost, string then)
    {
        if (then == "without a seal")
        {
            ManifestText.Unseal(path);
        }

        Action<string, Action<JsonObject>> edit = then == "sealed again" ? ManifestText.EditAndSeal : ManifestText.Edit;
        edit(path, json =>
        {
            JsonArray content = json["content"]!.AsArray();
            switch (lost)
            {
                case "content":
                    content.Clear();
                    break;
                case "extent":
                    content.RemoveAt(0);
                    break;
                default:
                    content[0]!.AsArray().RemoveAt(2);
                    break;
            }
        });
    }
}
