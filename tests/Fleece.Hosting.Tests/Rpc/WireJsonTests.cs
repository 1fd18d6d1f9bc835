// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;
using Fleece.Disks.Tests;
using Fleece.Hosting.Control;
using Fleece.Hosting.Records;
using Fleece.Hosting.Rpc;
using Fleece.Nbd;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>Records, requests and references as JSON.</summary>
public sealed class WireJsonTests
{
    private static readonly Type[] Contracts =
    [
        typeof(IDiskControl), typeof(ISessionControl), typeof(IBitmapControl), typeof(IExportControl), typeof(IJobControl),
        typeof(IHostControl), typeof(IMetricControl),
    ];

    /// <summary>All that requests take and answer.</summary>
    public static TheoryData<Type> Types =>
    [
        .. Contracts.SelectMany(contract => contract.GetMethods())
            .SelectMany(method => method.GetParameters().Select(parameter => parameter.ParameterType).Append(method.ReturnType))
            .Select(Plain)
            .Where(type => type.Namespace!.StartsWith("Fleece", StringComparison.Ordinal) && !type.IsEnum)
            .Distinct(),
    ];

    [Theory]
    [MemberData(nameof(Types))]
    public void Each_reads_back_equal_with_all_its_properties_set(Type type)
    {
        object written = Sample(type, new Counter());

        Assert.Equal(written, RoundTrip(written, type));
    }

    [Fact]
    public void The_types_are_found() =>
        Assert.Superset(
            new HashSet<Type>([typeof(DiskInfo), typeof(SessionInfo), typeof(BitmapInfo), typeof(ExportInfo), typeof(HostInfo),
                typeof(BitmapDescription), typeof(MountRequest), typeof(SessionRequest), typeof(BlockRange), typeof(SnapshotRun)]),
            Types.Select(row => row.Data).ToHashSet());

    [Fact]
    public async Task Records_of_the_engine_read_back_equal()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", 1 << 20);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("nightly", 65536);
        await disk.Device.WriteAsync(0, new byte[4096]);
        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "nightly", Consumers = ["a", "b"] });
        await using MountedDisks disks = new();
        DiskExport export = await disks.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={rig.Folder.File("vm sock")}") });

        AssertRoundTrip(disk.Describe());
        AssertRoundTrip(session.Describe());
        AssertRoundTrip(new BitmapInfo(bitmap, withRanges: true));
        AssertRoundTrip(export.Describe());
        AssertRoundTrip<IReadOnlyList<DiskInfo>>(new RecordList<DiskInfo>([disk.Describe()]));
        await session.StopAsync();
    }

    [Fact]
    public void Requests_with_nothing_but_what_they_need_read_back_equal()
    {
        AssertRoundTrip(new MountRequest { Address = "/vm/a.qcow2" });
        AssertRoundTrip(new ListenRequest { ListenUri = "nbd://localhost" });
        AssertRoundTrip(new SessionRequest { Disks = [] });
        AssertRoundTrip(new TlsFiles());
        AssertRoundTrip(new DiskReference("vm"));
        AssertRoundTrip(new HostInfo());
    }

    [Fact]
    public void A_property_of_a_newer_version_is_ignored_and_a_missing_one_has_its_initial_value()
    {
        DiskInfo? disk = JsonSerializer.Deserialize<DiskInfo>("""{"name":"vm","inventedLater":{"a":[1]}}""", WireJson.Options);

        Assert.Equal("vm", disk!.Name);
        Assert.Empty(disk.Notes);
        Assert.Equal(string.Empty, disk.Path);
    }

    [Theory]
    [InlineData(typeof(MountRequest), """{"address":null}""")]
    [InlineData(typeof(MountRequest), "{}")]
    [InlineData(typeof(MountRequest), """{"address":"/a","listeners":null}""")]
    [InlineData(typeof(MountRequest), """{"address":"/a","format":3}""")]
    [InlineData(typeof(MountRequest), """{"address":"/a","format":"Floppy"}""")]
    [InlineData(typeof(DiskReference), "{}")]
    [InlineData(typeof(BlockRange), "[1]")]
    [InlineData(typeof(BlockRange), "[1,2,3]")]
    [InlineData(typeof(DiskInfo), """{"name":null}""")]
    public void What_a_type_does_not_allow_is_refused(Type type, string json) =>
        Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(json, type, WireJson.Options));

    [Fact]
    public void A_range_that_is_none_is_refused() =>
        Assert.Equal(
            BlockErrors.InvalidRange,
            Assert.Throws<BlockException>(() => JsonSerializer.Deserialize<BlockRange>("[-1,2]", WireJson.Options)).Kind);

    [Fact]
    public void Certificates_stay_where_they_are()
    {
        using X509Certificate2 certificate = MakeCertificate();
        TlsFiles files = new() { CertificatePath = "/etc/cert.pem", Certificate = certificate, Authorities = [certificate] };

        Assert.Equal(new TlsFiles { CertificatePath = "/etc/cert.pem" }, RoundTrip(files, typeof(TlsFiles)));
    }

    private static X509Certificate2 MakeCertificate()
    {
        using System.Security.Cryptography.ECDsa key = System.Security.Cryptography.ECDsa.Create();
        return new CertificateRequest("CN=test", key, System.Security.Cryptography.HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
    }

    private static void AssertRoundTrip<T>(T written)
        where T : notnull => Assert.Equal(written, (T)RoundTrip(written, typeof(T))!);

    private static object? RoundTrip(object written, Type type) =>
        JsonSerializer.Deserialize(JsonSerializer.Serialize(written, type, WireJson.Options), type, WireJson.Options);

    private static Type Plain(Type type)
    {
        while (type.IsGenericType)
        {
            type = type.GetGenericArguments()[0];
        }

        return type;
    }

    // An object each of whose properties has a value of its own, other than the initial one.
    private static object Sample(Type type, Counter next)
    {
        Type plain = Nullable.GetUnderlyingType(type) ?? type;
        if (plain == typeof(IReadOnlyDictionary<string, string>))
        {
            return new RecordLabels([KeyValuePair.Create($"name {next.Next()}", "value")]);
        }

        if (plain.IsGenericType)
        {
            Array items = Array.CreateInstance(plain.GetGenericArguments()[0], 2);
            items.SetValue(Sample(plain.GetGenericArguments()[0], next), 0);
            items.SetValue(Sample(plain.GetGenericArguments()[0], next), 1);
            return Activator.CreateInstance(typeof(RecordList<>).MakeGenericType(plain.GetGenericArguments()), items)!;
        }

        int number = next.Next();
        return plain switch
        {
            _ when plain == typeof(string) => $"text {number}",
            _ when plain == typeof(bool) => true,
            _ when plain == typeof(int) => number,
            _ when plain == typeof(double) => number + 0.1,
            _ when plain == typeof(long) => (long)number << 33,
            _ when plain == typeof(Guid) => new Guid(number, 1, 2, [3, 4, 5, 6, 7, 8, 9, 10]),
            _ when plain == typeof(TimeSpan) => TimeSpan.FromTicks(number * 12_345_678L),
            _ when plain == typeof(DateTimeOffset) => new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.FromHours(2)).AddTicks(number),
            _ when plain == typeof(NbdUri) => NbdUri.Parse($"nbds+unix:///a%20b/{number}?socket=/run/%26x&tls-hostname=h"),
            _ when plain == typeof(BlockRange) => new BlockRange(number, number + 1),
            _ when plain == typeof(UnixFileMode) => UnixFileMode.UserRead | UnixFileMode.GroupWrite,
            _ when plain.IsEnum => Enum.GetValues(plain).GetValue(Enum.GetValues(plain).Length - 1)!,
            _ => Filled(plain, next),
        };
    }

    private static object Filled(Type type, Counter next)
    {
        const BindingFlags All = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
        ConstructorInfo? full = type.GetConstructors().FirstOrDefault(made => made.GetParameters().Length > 0);
        object filled = full is null
            ? Activator.CreateInstance(type, nonPublic: true)!
            : full.Invoke([.. full.GetParameters().Select(parameter => Sample(parameter.ParameterType, next))]);
        foreach (PropertyInfo property in type.GetProperties(All))
        {
            if (property.SetMethod is not null && !Plain(property.PropertyType).Name.StartsWith("X509", StringComparison.Ordinal) &&
                full?.GetParameters().Any(parameter => parameter.Name == property.Name) != true)
            {
                property.SetValue(filled, Sample(property.PropertyType, next));
            }
        }

        return filled;
    }

    private sealed class Counter
    {
        private int _number;

        public int Next() => ++_number;
    }
}
